"""What the project promises of bench.rpc: each number one claim with a stable id."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.report import Claim, Report

MESH = "grpc+envoy"
SIZE_8M = "8 MiB"


def ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def best(*values: float | None, pick=min) -> float | None:
    return pick((value for value in values if value is not None), default=None)


def make(report: Report) -> list[Claim]:
    """All claims, measured where `report` has the rows."""
    return [*_latency(report), *_over_work(report), *_open_loop(report), *_throughput(report), *_costs(report)]


def _latency(report: Report) -> Iterator[Claim]:
    work = "latency 64 B, 1 in flight"
    ours = report.find(work, "mrpc", "p50")
    grpc = best(report.find(work, "grpc", "p50"), report.find(work, "grpc.aio", "p50"))
    relays = [row.value for row in report.rows if row.work == "relay 64 B" and row.metric == "p50"]
    yield Claim("rpc.p50_64b_vs_envoy", "p50 of a 64 B echo: gRPC behind Envoys over mRPC", ">= 30",
                ratio(report.find(work, MESH, "p50"), ours))
    yield Claim("rpc.p50_64b_vs_grpc", "p50 of a 64 B echo: gRPC (the better of sync and aio) over mRPC", ">= 15", ratio(grpc, ours))
    yield Claim("rpc.p50_64b_vs_relay", "p50 of a 64 B echo: mRPC over the best bare relay", "<= 4", ratio(ours, best(*relays)))
    two = "two hosts, latency 64 B"
    yield Claim("rpc.two_hosts_p50", "p50 of a 64 B echo between two hosts: gRPC behind Envoys over mRPC", ">= 6",
                ratio(report.find(two, MESH, "p50"), report.find(two, "mrpc", "p50")))


def _over_work(report: Report) -> Iterator[Claim]:
    for busy_us in (100, 500):
        work = f"handler of {busy_us} us"
        ours = report.find(work, "mrpc", "p50 over it")
        yield Claim(f"rpc.works_{busy_us}us_over", f"us that a call to a handler of {busy_us} us takes over the handler's time, p50", "<= 60", ours)
        yield Claim(f"rpc.works_{busy_us}us_vs_grpc", "the same: gRPC over mRPC", ">= 4", ratio(report.find(work, "grpc", "p50 over it"), ours))


def _open_loop(report: Report) -> Iterator[Claim]:
    for rate in (10, 100, 1000):
        work = f"open loop {rate}/s, 64 B"
        yield Claim(f"rpc.open_{rate}.p50", f"p50 at {rate} calls/s, open loop: gRPC behind Envoys over mRPC", ">= 5",
                    ratio(report.find(work, MESH, "p50"), report.find(work, "mrpc", "p50")))
        yield Claim(f"rpc.open_{rate}.cpu", f"CPU per call at {rate} calls/s, all processes: gRPC behind Envoys over mRPC", ">= 3",
                    ratio(report.find(work, MESH, "cpu per 1000 calls"), report.find(work, "mrpc", "cpu per 1000 calls")))


def _throughput(report: Report) -> Iterator[Claim]:
    work, goodput = "rate 64 B, 32 in flight", f"goodput of {SIZE_8M} arrays"
    yield Claim("rpc.rate_32", "calls/s of one client with 32 in flight: mRPC over gRPC behind Envoys", ">= 15",
                ratio(report.find(work, "mrpc", "rate"), report.find(work, MESH, "rate")))
    ours = report.find(goodput, "mrpc", "goodput")
    yield Claim("rpc.goodput_8m_grpc", f"bytes/s of {SIZE_8M} arrays echoed: mRPC over gRPC", ">= 6",
                ratio(ours, report.find(goodput, "grpc", "goodput")))
    yield Claim("rpc.goodput_8m_envoy", f"bytes/s of {SIZE_8M} arrays echoed: mRPC over gRPC behind Envoys", ">= 10",
                ratio(ours, report.find(goodput, MESH, "goodput")))


def _costs(report: Report) -> Iterator[Claim]:
    yield Claim("rpc.engines_ns", "ns per call in rate limit and access control, by the daemon's cycle counters", "<= 300",
                report.find("engines", "mrpc", "in engines"))
    yield Claim("rpc.idle_cpu", "% of a core that a daemon, a server and ten attached apps use together when idle", "< 1",
                report.find("idle, ten apps", "mrpc", "cpu of all together"))
    yield Claim("rpc.rss", "MiB resident of a daemon with ten attached apps, shared memory left out", "< 150",
                report.find("idle, ten apps", "mrpc", "daemon rss"))
    yield Claim("rpc.dataplane_rss", "MiB that the data plane adds to the daemon's Python", "< 32",
                report.find("idle, ten apps", "mrpc", "data plane rss"))
    yield Claim("rpc.shm_given_back", "% of the shared memory that 8 MiB calls took and that is back 10 s after", ">= 90",
                report.find("memory after load", "mrpc", "given back"))
