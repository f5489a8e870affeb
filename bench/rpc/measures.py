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
BUSY_US = (50, 100, 200, 500, 1000)


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
QUICK = Scale(3, {"64 B": 4000, "1 KiB": 300, "64 KiB": 100, "1 MiB": 20, "8 MiB": 5}, 0.5, 2.0, rate_sizes=("64 B", "64 KiB", "8 MiB"))


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

    def turns(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, Deployment, Client]]:
        """Each system once a repeat; who begins changes."""
        order = [name for name in names or self.systems if name in self.systems]
        for repeat in range(self.scale.repeats):
            shift = repeat % max(1, len(order))
            for name in filter(self.systems.__contains__, order[shift:] + order[:shift]):
                yield name, self.systems[name], self.clients[name]

    def do(self, name: str, title: str, work: str, **arguments: Any) -> Any:
        """A work of one system's client, for the rows `title`. None when it fails: a row says why, it is not repeated, and a new client
        takes its place."""
        if name not in self.systems or self.report.failed(title, name):
            return None
        try:
            return self.clients[name].do(work, **arguments)
        except RuntimeError as error:
            self.report.fail(title, name, error)
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
        title = f"{work} {size}, 1 in flight" if work == "latency" else f"{work} {size}"
        for name, _, _ in bench.turns():
            calls = bench.scale.calls[size]
            times = bench.do(name, title, "latency", size=SIZES[size], calls=calls, warmup=max(3, calls // 5))
            if times is None:
                continue
            for p in (50, 99):
                samples.add(title, name, f"p{p}", "us", percentile(times, p) / 1e3)
    samples.into(bench.report)


def over_work(bench: Bench, names: Iterable[str]) -> None:
    """Handlers that work for a while: what a call takes over the handler's own time, and CPU time over the work, of all processes."""
    samples, calls = Samples(), bench.scale.calls["64 KiB"]
    for busy_us in BUSY_US:
        work = f"handler of {busy_us} us"
        bench.step(work)
        for name, deployment, client in bench.turns(names):
            bench.do(name, work, "over_work", busy_us=busy_us, calls=1, warmup=100)
            before = deployment.cpu_seconds(client)
            times = bench.do(name, work, "over_work", busy_us=busy_us, calls=calls, warmup=0)
            if times is None:
                continue
            cpu = deployment.cpu_seconds(client) - before - busy_us * 1e-6 * calls
            for p in (50, 99):
                samples.add(work, name, f"p{p} over it", "us", percentile(times, p) / 1e3)
            samples.add(work, name, "cpu per 1000 calls over it", "s", cpu / calls * 1000)
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
        title = f"rate {size}, {IN_FLIGHT} in flight"
        for name, deployment, _ in bench.turns():
            for mode in ("tasks",) if deployment.aio else ("threads", "futures"):
                rate = bench.do(name, f"{title}, {mode}", f"rate_{mode}", size=SIZES[size], in_flight=IN_FLIGHT, seconds=bench.scale.seconds)
                if rate is not None:
                    found[name][mode].append(rate)
        for name, modes in found.items():
            mode = max(modes, key=lambda mode: sorted(modes[mode])[len(modes[mode]) // 2])
            bench.report.add(title, name, "rate", f"calls/s ({mode})", modes[mode])


def client_processes(bench: Bench, names: Iterable[str]) -> None:
    """1, 2, 4 and 8 client processes, each calling one after another."""
    samples = Samples()
    for count in bench.scale.client_counts:
        bench.step(f"{count} client processes")
        title = f"{count} client processes, 64 B"
        for name in filter(bench.systems.__contains__, names):
            try:
                for rate in _rates_together(bench, bench.systems[name], count):
                    samples.add(title, name, "rate", "calls/s", rate)
            except (NotStarted, RuntimeError) as error:
                bench.report.fail(title, name, error)
    samples.into(bench.report)


def _rates_together(bench: Bench, deployment: Deployment, count: int) -> Iterator[float]:
    with ExitStack() as stack:
        clients = [stack.enter_context(deployment.client()) for _ in range(count)]
        for _ in range(bench.scale.repeats):
            for client in clients:
                client.send("rate_threads", size=64, in_flight=1, seconds=bench.scale.seconds)
            yield sum(client.receive() for client in clients)


def open_loop(bench: Bench, names: Iterable[str]) -> None:
    """Latency from the intended send, and CPU time of client, daemon or Envoys, and server together."""
    samples = Samples()
    for rate in OPEN_RATES:
        bench.step(f"open loop {rate}/s")
        seconds = max(bench.scale.open_seconds, 20 / rate)
        for name, deployment, client in bench.turns(names):
            before = deployment.cpu_seconds(client)
            work = f"open loop {rate}/s, 64 B"
            times = bench.do(name, work, "open_loop", size=64, rate=rate, seconds=seconds)
            if times is None:
                continue
            cpu = deployment.cpu_seconds(client) - before
            for p in (50, 99):
                samples.add(work, name, f"p{p}", "us", percentile(times, p) / 1e3)
            samples.add(work, name, "cpu per 1000 calls", "s", cpu / len(times) * 1000)
    samples.into(bench.report)


def goodput(bench: Bench, names: Iterable[str]) -> None:
    """Bytes echoed a second. That what comes back is what went is checked first, outside of timing."""
    bench.step("goodput 8 MiB")
    samples, size, title = Samples(), SIZES["8 MiB"], "goodput of 8 MiB arrays"
    for name in filter(bench.systems.__contains__, names):
        if bench.do(name, title, "check_goodput", size=size) is False:
            bench.report.fail(title, name, "it did not echo what was sent")
    for name, _, _ in bench.turns(names):
        value = bench.do(name, title, "goodput", size=size, seconds=max(1.0, bench.scale.seconds))
        if value is not None:
            samples.add(title, name, "goodput", "MiB/s", value / 2**20)
    samples.into(bench.report)


def pause_between(seconds: float) -> None:
    """Lets an idle system be idle: what is measured here is time itself."""
    time.sleep(seconds)
