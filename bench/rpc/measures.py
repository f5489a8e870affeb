"""The measurements. Systems take turns within each repeat, so that drift of the machine falls on all alike."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.common.process import NotStarted
from bench.common.report import Report
from bench.common.statistics import percentile
from bench.rpc import relay
from bench.rpc.systems import Client, Deployment

SIZES = {"64 B": 64, "1 KiB": 1 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "8 MiB": 8 << 20}
IN_FLIGHT = 32
OPEN_RATES = (10, 100, 1000)
# With Envoy's field extraction (1.40, as configured here) large calls hung in our runs; why has not been established.
SMALL_ONLY = "grpc+envoy, field"
SMALL = ("64 B", "1 KiB")


@dataclass(frozen=True)
class Scale:
    """How long to measure."""

    repeats: int
    calls: Mapping[str, int]  # of a latency measurement, by size
    seconds: float            # of a rate measurement
    open_seconds: float
    client_counts: tuple[int, ...] = (1, 2, 4, 8)
    rate_sizes: tuple[str, ...] = tuple(SIZES)


FULL = Scale(7, {"64 B": 4000, "1 KiB": 4000, "64 KiB": 1000, "1 MiB": 150, "8 MiB": 25}, 2.0, 10.0)
QUICK = Scale(3, {"64 B": 600, "1 KiB": 300, "64 KiB": 100, "1 MiB": 20, "8 MiB": 5}, 0.5, 2.0, rate_sizes=("64 B", "64 KiB", "8 MiB"))


class Samples:
    """Values of many repeats, until they become rows."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)

    def add(self, work: str, system: str, metric: str, unit: str, value: float) -> None:
        self._values[work, system, metric, unit].append(value)

    def into(self, report: Report) -> None:
        for key, values in self._values.items():
            report.add(*key, values)


@dataclass
class Bench:
    """Running systems with a client each, and where results go."""

    report: Report
    scale: Scale
    step: Callable[[str], None]  # tells the progress bar what comes
    systems: dict[str, Deployment] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)  # ends the clients

    def turns(self, names: Iterable[str] | None = None, size: str = "64 B") -> Iterator[tuple[str, Deployment, Client]]:
        """Each system that can carry `size` once a repeat; who begins changes."""
        order = [name for name in names or self.systems if name in self.systems and (name != SMALL_ONLY or size in SMALL)]
        for repeat in range(self.scale.repeats):
            shift = repeat % max(1, len(order))
            for name in filter(self.systems.__contains__, order[shift:] + order[:shift]):
                yield name, self.systems[name], self.clients[name]

    def do(self, name: str, work: str, **arguments: Any) -> Any:
        """A work of one system's client. None when it failed or hung: that is noted, and a new client takes its place."""
        if name not in self.systems:
            return None
        try:
            return self.clients[name].do(work, **arguments)
        except RuntimeError as error:
            self.report.notes.append(f"{name} failed at {work} {arguments}: {error}")
            self.clients[name].child.process.kill()
        try:
            self.clients[name] = self.stack.enter_context(self.systems[name].client())
        except NotStarted as error:
            self.report.notes.append(f"{name} is left out from here on: {error}")
            del self.systems[name]
        return None


@contextmanager
def running(bench: Bench, makers: Mapping[str, Callable]) -> Iterator[Bench]:
    """Starts systems and clients; what cannot start is noted and left out."""
    with bench.stack:
        for name, make in makers.items():
            try:
                deployment = bench.stack.enter_context(make())
                bench.clients[name] = bench.stack.enter_context(deployment.client())
                bench.systems[name] = deployment
            except Exception as error:  # whatever a peer lacks here, the others are measured
                bench.report.notes.append(f"{name} could not start and was not measured: {error}")
        yield bench


def latency(bench: Bench, work: str, sizes: Iterable[str]) -> None:
    samples = Samples()
    for size in sizes:
        bench.step(f"{work} {size}")
        for name, _, _ in bench.turns(size=size):
            calls = bench.scale.calls[size]
            times = bench.do(name, "latency", size=SIZES[size], calls=calls, warmup=max(3, calls // 5))
            if times is None:
                continue
            title = f"{work} {size}, 1 in flight" if work == "latency" else f"{work} {size}"
            for p in (50, 99):
                samples.add(title, name, f"p{p}", "us", percentile(times, p) / 1e3)
    samples.into(bench.report)


def relay_latency(bench: Bench, folder: Path) -> None:
    bench.step("relay")
    samples, program = Samples(), relay.build(folder)
    for _ in range(bench.scale.repeats):
        for setting in relay.SETTINGS:
            times = relay.round_trips(program, setting, bench.scale.calls["64 B"] * 5)
            samples.add("relay 64 B", f"relay, {setting}", "p50", "us", percentile(times, 50) / 1e3)
    samples.into(bench.report)


def rates(bench: Bench) -> None:
    """32 in flight from one client, by threads and by futures; the better is reported, and which it was."""
    for size in bench.scale.rate_sizes:
        bench.step(f"rate {size}")
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for name, deployment, _ in bench.turns(size=size):
            for mode in ("tasks",) if deployment.aio else ("threads", "futures"):
                rate = bench.do(name, f"rate_{mode}", size=SIZES[size], in_flight=IN_FLIGHT, seconds=bench.scale.seconds)
                if rate is not None:
                    found[name][mode].append(rate)
        for name, modes in found.items():
            mode = max(modes, key=lambda mode: sorted(modes[mode])[len(modes[mode]) // 2])
            bench.report.add(f"rate {size}, {IN_FLIGHT} in flight", name, "rate", f"calls/s ({mode})", modes[mode])


def client_processes(bench: Bench, names: Iterable[str]) -> None:
    """1, 2, 4 and 8 client processes, each calling one after another."""
    samples = Samples()
    for count in bench.scale.client_counts:
        bench.step(f"{count} client processes")
        for name in filter(bench.systems.__contains__, names):
            with ExitStack() as stack:
                clients = [stack.enter_context(bench.systems[name].client()) for _ in range(count)]
                for _ in range(bench.scale.repeats):
                    for client in clients:
                        client.send("rate_threads", size=64, in_flight=1, seconds=bench.scale.seconds)
                    samples.add(f"{count} client processes, 64 B", name, "rate", "calls/s", sum(c.receive() for c in clients))
    samples.into(bench.report)


def open_loop(bench: Bench, names: Iterable[str]) -> None:
    """Latency from the intended send, and CPU time of client, daemon or Envoys, and server together."""
    samples = Samples()
    for rate in OPEN_RATES:
        bench.step(f"open loop {rate}/s")
        seconds = max(bench.scale.open_seconds, 20 / rate)
        for name, deployment, client in bench.turns(names):
            before = deployment.cpu_seconds(client)
            times = bench.do(name, "open_loop", size=64, rate=rate, seconds=seconds)
            if times is None:
                continue
            cpu = deployment.cpu_seconds(client) - before
            work = f"open loop {rate}/s, 64 B"
            for p in (50, 99):
                samples.add(work, name, f"p{p}", "us", percentile(times, p) / 1e3)
            samples.add(work, name, "cpu per 1000 calls", "s", cpu / len(times) * 1000)
    samples.into(bench.report)


def goodput(bench: Bench, names: Iterable[str]) -> None:
    bench.step("goodput 8 MiB")
    samples, size = Samples(), SIZES["8 MiB"]
    for name in filter(bench.systems.__contains__, names):
        if not bench.clients[name].do("check_goodput", size=size):
            raise RuntimeError(f"{name} did not echo what was sent")
    for name, _, client in bench.turns(names):
        value = client.do("goodput", size=size, seconds=max(1.0, bench.scale.seconds))
        samples.add("goodput of 8 MiB arrays", name, "goodput", "MiB/s", value / 2**20)
    samples.into(bench.report)


def pause_between(seconds: float) -> None:
    """Lets an idle system be idle: what is measured here is time itself."""
    time.sleep(seconds)
