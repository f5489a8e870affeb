"""A caller that cannot wait, beside an application that takes all it can get: the former's tail with priorities, without, and beside a
harmless program that burns the same CPU as the bulk application, its server and the daemon did."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.common.process import Child, cpu_seconds
from bench.common.statistics import percentile
from bench.policy.mesh import OFF, Daemon, Kit, Mesh, chain
from bench.policy.scale import Bench
from bench.rpc.systems import Client

RATE = 200.0  # calls a second, open loop
SMALL = 64


def priorities(bulk_service: str) -> list[str]:
    """Calls that somebody waits for are urgent, the others bulk."""
    return [chain([{"name": "order", "use": "qos", "config": {"level": "urgent"}}], "urgent", service="policybench.Echo", method="Call"),
            chain([{"name": "order", "use": "qos", "config": {"level": "bulk"}}], "bulk", service=f"policybench.{bulk_service}", method="Bulk")]


@dataclass(frozen=True)
class Load:
    title: str
    service: str    # whose server the bulk application calls
    size: int
    in_flight: int


OWN = (Load("1 MiB, a server each", "Store", 1 << 20, 8), Load("8 MiB, a server each", "Store", 8 << 20, 4))
SAME = Load("16 KiB, one server for both", "Echo", 16 << 10, 64)


@dataclass
class Stage:
    """One daemon with both applications, ready."""

    daemon: Daemon
    caller: Client
    bulk: Client
    burning: tuple[Child, ...]  # whose CPU time the harmless program burns


def tails(bench: Bench, kit: Kit) -> None:
    for load in (*OWN, SAME):
        bench.step(f"qos, {load.title}")
        with kit.mesh() as mesh:
            _measure(bench, _stage(mesh, load), load)


def _stage(mesh: Mesh, load: Load) -> Stage:
    daemon = mesh.daemon("qos")
    server = mesh.server(daemon)
    store = mesh.server(daemon, "Store") if load.service == "Store" else server
    caller, bulk = mesh.client(daemon), mesh.client(daemon, load.service)
    return Stage(daemon, caller, bulk, (bulk.child, store, daemon.child))


def _measure(bench: Bench, stage: Stage, load: Load) -> None:
    work, seconds = f"qos, {load.title}", bench.scale.qos_seconds
    tail: dict[str, list[float]] = {}
    shares: list[float] = []

    def loop() -> list[int]:
        return stage.caller.do("open_loop", size=SMALL, rate=RATE, seconds=seconds)

    def note(name: str, times: list[int]) -> None:
        tail.setdefault(name, []).append(percentile(times, 99) / 1e3)
        bench.report.add(f"{work}, turn {len(tail[name])}", name, "p50", "us", [percentile(times, 50) / 1e3])

    for _ in range(bench.scale.qos_repeats):
        stage.daemon.apply(OFF)
        note("alone", loop())
        note("without priorities", _beside_bulk(bench, stage, load, loop, None, work, "without priorities"))
        stage.daemon.apply(*priorities(load.service))
        note("priorities", _beside_bulk(bench, stage, load, loop, shares, work, "priorities"))
        with burning(shares[-len(stage.burning):]):
            note("control", loop())
    for name, values in tail.items():
        bench.report.add(work, name, "p99", "us", values)
    ratios = [ours / control for ours, control in zip(tail["priorities"], tail["control"], strict=True)]
    bench.report.add(work, "priorities", "p99 over control's", "times", ratios)


def _beside_bulk(bench: Bench, stage: Stage, load: Load, loop: Callable[[], list[int]], shares: list[float] | None, work: str,
                 name: str) -> list[int]:
    """The caller's latencies while the bulk application runs. Adds to `shares` what each of its parts used of a core meanwhile."""
    stage.bulk.send("bulk", until_told=True, size=load.size, in_flight=load.in_flight)
    try:
        before, began = [cpu_seconds([part.pid]) for part in stage.burning], time.monotonic()
        times = loop()
        took = time.monotonic() - began
        used = [(cpu_seconds([part.pid]) - was) / took for part, was in zip(stage.burning, before, strict=True)]
    finally:
        stage.bulk.send("")  # any line ends it
        rate = stage.bulk.receive()["rate"]
    bench.report.add(work, name, "bulk calls", "calls/s", [rate])
    if shares is not None:
        shares += used
    return times


@contextmanager
def burning(shares: list[float]) -> Iterator[None]:
    """Programs that use these shares of a core, one each."""
    with ExitStack() as stack:
        for share in shares:
            stack.enter_context(Child([sys.executable, "-m", "bench.policy.burn", f"{min(1.0, share):.3f}"], "^ready$"))
        yield
