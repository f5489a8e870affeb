"""What the daemon itself costs: policies, ways of waiting, idle CPU, memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.common.daemon import ask
from bench.common.process import memory_mib, shared_memory_mib
from bench.common.statistics import confidence, percentile
from bench.rpc.measures import SIZES, Bench, Samples, pause_between
from bench.rpc.systems import POLICIES, Client, Deployment, Kit

WAITS = {
    "default": None,
    "all sleep": "poll_us=0,server_poll_us=0",
    "caller polls": "poll_us=200,server_poll_us=0",
    "server polls": "poll_us=0,server_poll_us=200",
    "both poll": "poll_us=200,server_poll_us=200",
}
NO_POLICIES = "# none\n"
APPS = 10
SETTLE_SECONDS = 10
# What the daemon's Python imports, without a data plane: its resident memory is the control plane's share.
CONTROL_PLANE = "import mrpc_service.control_plane, mrpc_service.control.server, mrpc_service.control.servicer, mrpc_service.registry"


def engines(bench: Bench, kit: Kit) -> None:
    """Rate limit and access control: by the daemon's cycle counters, and by the same calls with the policies applied and lifted in turn."""
    bench.step("engines")
    calls = bench.scale.calls["64 B"] // 2
    with kit.mrpc() as deployment, deployment.client() as client:
        differences, per_call = [], []
        for turn in range(max(12, bench.scale.repeats * 4)):
            p50 = {}
            for judging in (turn % 2 == 0, turn % 2 == 1):  # the first of a pair has no advantage over the whole
                apply(deployment, POLICIES if judging else NO_POLICIES)
                p50[judging] = percentile(client.do("latency", size=64, calls=calls, warmup=100), 50)
                if judging:
                    counters = policy_counters(ask(deployment.runtime_dir, "edges"))  # since the policies were applied
                    per_call.append(sum(each["ns_total"] / each["evaluations"] for each in counters if each["evaluations"]))
            differences.append(p50[True] - p50[False])
    bench.report.add("engines", "mrpc", "in engines", "ns/call", per_call)
    low, high = confidence(differences)
    bench.report.add("engines", "mrpc", "on minus off, p50 (95 % confidence)", "ns/call", [low, median(differences), high])


def apply(deployment: Deployment, documents: str) -> None:
    """Has the daemon judge by these documents from now on."""
    deployment.policies.write_text(documents)
    ask(deployment.runtime_dir, "reload")


def policy_counters(found: Any) -> Iterator[dict[str, int]]:
    """Every object of a JSON tree that counts a policy's evaluations."""
    if isinstance(found, dict):
        if "evaluations" in found and "ns_total" in found:
            yield {name: int(found[name]) for name in ("evaluations", "ns_total")}
        found = list(found.values())
    if isinstance(found, list):
        for each in found:
            yield from policy_counters(each)


def waiting(bench: Bench, kit: Kit) -> None:
    """Latency and CPU of each way of waiting."""
    samples = Samples()
    for name, wait in WAITS.items():
        bench.step(f"waiting: {name}")
        with kit.mrpc(wait=wait) as deployment, deployment.client() as client:
            for _ in range(bench.scale.repeats):
                calls = bench.scale.calls["64 B"]
                before = deployment.cpu_seconds(client)
                times = client.do("latency", size=64, calls=calls, warmup=0)
                cpu = deployment.cpu_seconds(client) - before
                samples.add("waiting, 64 B", f"mrpc, {name}", "p50", "us", percentile(times, 50) / 1e3)
                samples.add("waiting, 64 B", f"mrpc, {name}", "p99", "us", percentile(times, 99) / 1e3)
                samples.add("waiting, 64 B", f"mrpc, {name}", "cpu per 1000 calls", "s", cpu / calls * 1000)
    samples.into(bench.report)


def idle(bench: Bench, kit: Kit) -> None:
    """A daemon, its server and ten attached apps that have called once, with nothing to do: CPU and memory."""
    bench.step("idle")
    with ExitStack() as stack:
        deployment = stack.enter_context(kit.mrpc())
        clients = [stack.enter_context(deployment.client()) for _ in range(APPS)]
        for client in clients:
            client.do("latency", size=64, calls=1, warmup=0)
        daemon, shares = deployment.parts["daemon"].pid, []
        pause_between(3)
        for _ in range(bench.scale.repeats):
            before, began = deployment.cpu_seconds(*clients), time.monotonic()
            pause_between(max(2.0, bench.scale.open_seconds))
            shares.append((deployment.cpu_seconds(*clients) - before) / (time.monotonic() - began) * 100)
        private = memory_mib(daemon) - memory_mib(daemon, "Pss_Shmem")
    work = "idle, ten apps"
    bench.report.add(work, "mrpc", "cpu of all together", "% of a core", shares)
    bench.report.add(work, "mrpc", "daemon rss", "MiB", [private])
    bench.report.add(work, "mrpc", "data plane rss", "MiB", [private - control_plane_mib()])


def control_plane_mib() -> float:
    script = f"{CONTROL_PLANE}; from bench.common.process import memory_mib; import os; print(memory_mib(os.getpid()))"
    return float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)


def memory_after_load(bench: Bench, kit: Kit) -> None:
    """Shared memory before, under and after a burst of large calls."""
    bench.step("memory after load")
    with kit.mrpc() as deployment, deployment.client() as client:
        before = shared_memory_mib()
        peak = before
        for _ in range(bench.scale.repeats):
            peak = max(peak, _peak_of_burst(client))
        deadline = time.monotonic() + SETTLE_SECONDS
        while (after := shared_memory_mib()) - before > (peak - before) * 0.1 and time.monotonic() < deadline:
            pause_between(0.2)
    work = "memory after load"
    bench.report.add(work, "mrpc", "taken", "MiB", [peak - before])
    bench.report.add(work, "mrpc", "kept", "MiB", [after - before])
    bench.report.add(work, "mrpc", "given back", "%", [100 * (1 - (after - before) / (peak - before)) if peak > before else 100])


def _peak_of_burst(client: Client) -> float:
    client.do("burst", size=SIZES["8 MiB"], in_flight=8)
    return shared_memory_mib()
