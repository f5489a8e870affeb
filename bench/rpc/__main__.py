"""`python -m bench.rpc [--quick] [--json FILE]`: mRPC beside its peers. A full run without --json leaves bench/rpc/results.json."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from bench.common import command
from bench.common import report as reports
from bench.common.envoy import WINDOW_BYTES
from bench.common.netns import two_hosts
from bench.rpc import claims, costs, judged, measures
from bench.rpc.binding import MESSAGE_BYTES_MAX
from bench.rpc.systems import Kit
from bench.rpc.works import CALL_SECONDS

RESULTS = Path(__file__).with_name("results.json")
COMPARED = ("mrpc", "grpc", "grpc+envoy")
BY_FIELD = "grpc+envoy, field"
NOTES = (
    "The client is the Python stub on every system, the same code; the server is server(ThreadPoolExecutor(8)) echoing, or gRPC's aio server.",
    "grpc+envoy: client -> Envoy -> Envoy -> server, one worker each; the second Envoy holds a token bucket and a denial by header, as the "
    "mRPC daemon holds a token bucket and a denial by message field. grpc+envoy, field: the denial reads the message's field, as ours does, "
    "by Envoy's gRPC field extraction into dynamic metadata. No access log, no tracing, log level warning.",
    f"Limits raised alike: gRPC messages to {MESSAGE_BYTES_MAX >> 20} MiB; Envoy's buffers and HTTP/2 windows to {WINDOW_BYTES >> 20} MiB.",
    "policies, whole run: the counters of daemon and proxies at the end. Judged calls are all calls where policies are on, on every edge.",
    f"Every call has a timeout, of {CALL_SECONDS} s. A row that failed says why, and is not repeated.",
    "Goodput counts each echoed byte once. Latencies of closed loops hide queueing; those of open loops count from the intended send.",
)


def main() -> int:
    parser = command.make_parser("rpc", __doc__)
    flags = parser.parse_args()
    found = reports.Report("rpc", notes=list(NOTES))
    console = command.open_console()
    with command.make_progress(console) as progress:
        run(found, measures.QUICK if flags.quick else measures.FULL, progress)
    found.claims = claims.make(found)
    command.publish(found, RESULTS, flags, console)
    return 0


def run(found: reports.Report, scale: measures.Scale, progress: Progress) -> None:
    steps = 2 * len(measures.SIZES) + len(scale.rate_sizes) + len(scale.client_counts) + len(costs.WAITS) + len(measures.BUSY_US) + 11
    task = progress.add_task("starting", total=steps)

    def step(text: str) -> None:
        progress.update(task, description=text, advance=1)

    with tempfile.TemporaryDirectory(prefix="mrpc-bench-") as folder:
        kit = Kit(Path(folder))
        one_host(measures.Bench(found, scale, step), kit)
        other = measures.Bench(found, scale, step)
        for part in (between_hosts, costs.engines, costs.waiting, costs.idle, costs.memory_after_load):
            guarded(found, part, other, kit)
    progress.update(task, description="done", completed=steps)


def one_host(bench: measures.Bench, kit: Kit) -> None:
    makers = {
        "mrpc": kit.mrpc,
        "grpc": kit.grpc,
        "grpc.aio": lambda: kit.grpc(aio=True),
        "grpc+envoy": kit.envoy,
        BY_FIELD: lambda: kit.envoy(by_field=True),
    }
    guarded(bench.report, measures.relay_latency, bench, kit.folder)
    with measures.running(bench, makers):
        guarded(bench.report, measures.latency, bench, "latency", measures.SIZES)
        guarded(bench.report, measures.open_loop, bench, COMPARED)
        guarded(bench.report, measures.over_work, bench, COMPARED)
        guarded(bench.report, measures.goodput, bench, (*COMPARED, BY_FIELD))
        guarded(bench.report, measures.rates, bench)
        guarded(bench.report, measures.client_processes, bench, COMPARED)
        guarded(bench.report, judged.whole_run, bench)


def between_hosts(bench: measures.Bench, kit: Kit) -> None:
    with two_hosts() as hosts:
        makers = {"mrpc": lambda: kit.mrpc_hosts(hosts), "grpc": lambda: kit.grpc(hosts=hosts), "grpc+envoy": lambda: kit.envoy(hosts=hosts)}
        there = measures.Bench(bench.report, bench.scale, bench.step)
        with measures.running(there, makers):
            measures.latency(there, "two hosts, latency", measures.SIZES)
            judged.whole_run(there, "two hosts, policies")


def guarded(found: reports.Report, part: Callable, *arguments: object) -> None:
    command.guarded(found, part.__name__, part, *arguments)


if __name__ == "__main__":
    sys.exit(main())
