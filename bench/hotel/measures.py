"""The measurements.

All variants run side by side and take turns within each repeat, so that drift of the machine falls on all alike; those whose
turn it is not are idle, which takes a few per cent of a core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from apps.hotel.generate import SYSTEMS as RPCS
from apps.hotel.run import HotelApp
from apps.processes import StartError
from bench.common import judged
from bench.common.report import Report
from bench.hotel.loads import DATA_PLANES, FrontendLoad, Run, SearchLoad
from bench.hotel.systems import MESH, STYLES, SYSTEMS, running, variant
from mrpc_service.load.native import LoadError

SHARE = 0.7  # of the peer's capacity
CAPACITY = "capacity, closed loop"
CPU_LEAST_US = 1.0  # of a process, for one request: less is its housekeeping


@dataclass(frozen=True)
class Scale:
    """How long to measure, in seconds for one run."""

    repeats: int
    choose: float
    capacity: float
    latency: float
    alone: float
    in_flight: tuple[int, ...] = (8, 16, 32, 64)


FULL = Scale(4, choose=0.8, capacity=1.5, latency=4.5, alone=2.0)
QUICK = Scale(2, choose=0.5, capacity=1.0, latency=3.0, alone=1.0, in_flight=(8, 32))


@dataclass(frozen=True)
class Work:
    """A load, and how the application runs that it is put on."""

    name: str
    load: FrontendLoad | SearchLoad
    styles: tuple[str, ...]
    policies: Path

    @property
    def at_share(self) -> str:
        return at_share(self.name)

    def steps(self, scale: Scale) -> int:
        """How often measure() tells of a step, if everything starts."""
        return 2 + len(SYSTEMS) * len(self.styles) * (len(scale.in_flight) + 2 * scale.repeats)


def at_share(name: str) -> str:
    """What rows call a work's open loop, at a share of the peer's capacity."""
    return f"{name} at {SHARE:.0%}"


@dataclass
class Bench:
    report: Report
    scale: Scale
    step: Callable[[str], None]  # tells the progress bar what comes
    failures: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def attempt(self, name: str, work: str, run: Callable[..., Run], *arguments: Any) -> list[Run]:
        """One run; none when it could not be made, which is noted. Failed requests are counted."""
        self.step(f"{work}: {name}")
        try:
            done = run(*arguments)
        except (LoadError, StartError, OSError) as error:
            self.note(work, name, str(error))
            return []
        self.failures[work, name].update(done.failures)
        return [done]

    def note(self, work: str, name: str, text: str) -> None:
        if (told := f"{work}, {name}: {text}") not in self.report.notes:
            self.report.notes.append(told)

    def note_failures(self) -> None:
        for (work, name), texts in self.failures.items():
            if texts:
                self.note(work, name, f"{texts.total()} requests failed and count for no rate: {dict(texts)}")

    def turns(self, apps: Mapping[str, HotelApp]) -> Iterator[tuple[str, HotelApp]]:
        """Each variant once a repeat; who begins changes."""
        order = list(apps)
        for repeat in range(self.scale.repeats):
            shift = repeat % max(1, len(order))
            for name in order[shift:] + order[:shift]:
                yield name, apps[name]


def measure(bench: Bench, work: Work) -> None:
    """One work: the calls in flight that suit each variant, capacity, then latency and CPU time at one rate for all."""
    bench.step(f"{work.name}: starting")
    with running(work.styles, work.policies, lambda name, why: bench.note(work.name, name, why)) as apps:
        found = capacity(bench, work, apps, choose(bench, work, apps))
        peers = [found[name] for style in work.styles if (name := variant(MESH, style)) in found]
        if not peers:
            bench.note(work.name, MESH, "has no capacity to take the open loop's rate from, so that latency was not measured")
            return
        rate = round(SHARE * max(peers))
        latency(bench, work, apps, rate)
        alone(bench, work, apps, rate)
        policies(bench, work, apps)


def choose(bench: Bench, work: Work, apps: Mapping[str, HotelApp]) -> dict[str, int]:
    """The calls in flight with which each variant answers most, by a short closed loop with each number."""
    rates: dict[str, dict[int, float]] = defaultdict(dict)
    for in_flight in bench.scale.in_flight:
        for name, app in apps.items():
            for run in bench.attempt(name, work.name, work.load.closed, app, in_flight, bench.scale.choose):
                rates[name][in_flight] = run.rate
    return {name: max(by_flight, key=by_flight.__getitem__) for name, by_flight in rates.items()}


def capacity(bench: Bench, work: Work, apps: Mapping[str, HotelApp], in_flight: Mapping[str, int]) -> dict[str, float]:
    """Requests a second of a closed loop, by variant."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for name, app in bench.turns({name: apps[name] for name in in_flight}):
        runs[name] += bench.attempt(name, work.name, work.load.closed, app, in_flight[name], bench.scale.capacity)
    runs = {name: each for name, each in runs.items() if each}
    for name, each in runs.items():
        bench.report.add(work.name, name, CAPACITY, f"requests/s ({in_flight[name]} in flight)", [run.rate for run in each])
    speeds = [run.generator_speed for each in runs.values() for run in each]
    bench.report.add(work.name, "all", "generator's speed", "x of capacity", speeds)
    return {name: median(run.rate for run in each) for name, each in runs.items()}


def latency(bench: Bench, work: Work, apps: Mapping[str, HotelApp], rate: float) -> None:
    """Latencies of an open loop from the intended send, and the CPU time of every process at that rate."""
    bench.report.add(work.at_share, "all", "rate, open loop", "requests/s", [rate])
    runs: dict[str, list[Run]] = defaultdict(list)
    for name, app in bench.turns(apps):
        runs[name] += bench.attempt(name, work.at_share, work.load.open, app, rate, bench.scale.latency)
    runs = {name: each for name, each in runs.items() if each}
    for name, each in runs.items():
        bench.report.add(work.at_share, name, "p50", "us", [run.p50_us for run in each])
        bench.report.add(work.at_share, name, "p99", "us", [run.p99_us for run in each])
        bench.report.add(work.at_share, name, "cpu, all", "us/request", [run.cpu_all_us for run in each])
    shares = [100 * run.generator_share for each in runs.values() for run in each]
    bench.report.add(work.at_share, "all", "generator's cpu", "% of a core", shares)
    for system in SYSTEMS:
        if name := quickest(bench.report, work.name, system):
            _add_cpu(bench.report, work.at_share, name, runs[name])


def quickest(report: Report, name: str, system: str) -> str | None:
    """The variant of a system that has the least p99 in a work's open loop."""
    variants = [variant(system, style) for style in STYLES]
    p99 = {each: value for each in variants if (value := report.find(at_share(name), each, "p99")) is not None}
    return min(p99, key=p99.__getitem__, default=None)


def _add_cpu(report: Report, work: str, name: str, runs: Sequence[Run]) -> None:
    """By process, those left out that have no part in the work."""
    for process in sorted(runs[0].cpu_us):
        values = [run.cpu_us[process] for run in runs]
        if median(values) >= CPU_LEAST_US:
            report.add(work, name, f"cpu, {process}", "us/request", values)
        if process in DATA_PLANES:
            shares = [100 * run.cpu_us[process] / run.cpu_all_us for run in runs]
            report.add(work, name, f"share of {process}", "% of cpu", shares)


def alone(bench: Bench, work: Work, apps: Mapping[str, HotelApp], rate: float) -> None:
    """What is no RPC: the application by itself, and the HTTP server by itself."""
    bench.step(f"{work.name}: application alone")
    for rpc in RPCS:
        command = [sys.executable, "-m", "bench.hotel.alone", work.name, str(work.load.requests), str(bench.scale.alone)]
        env = {**os.environ, "HOTEL_RPC": rpc, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode == 0:
            bench.report.add(work.at_share, alone_name(rpc), "cpu, all", "us/request", [float(done.stdout)])
        else:
            bench.note(work.name, rpc, f"the application alone was not measured: {done.stderr.strip()[-200:]}")
    if isinstance(work.load, FrontendLoad):
        name, app = next(iter(apps.items()))
        for run in bench.attempt(name, "HTTP alone", work.load.http_alone, app, rate, bench.scale.capacity):
            bench.report.add(work.at_share, "HTTP alone", "cpu, all", "us/request", [run.cpu_us["frontend"]])


def policies(bench: Bench, work: Work, apps: Mapping[str, HotelApp]) -> None:
    """Whether they were on: the calls that the daemon or the services' Envoys saw, and those that each policy judged."""
    for name, app in apps.items():
        own = app.environment.get("MRPC_RUNTIME_DIR")
        found = judged.by_daemon(Path(own)) if own else judged.by_proxies(app.envoy_admins.values())
        judged.add(bench.report, name, found, f"{work.name}: {judged.WORK}")


def alone_name(rpc: str) -> str:
    """What rows call the application by itself with the messages of "mrpc" or "grpc"."""
    return f"application alone, {rpc} messages"
