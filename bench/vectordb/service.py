"""The service over mRPC with policies on, beside the library that it serves and beside itself over gRPC; and a small tenant while another floods."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.common import judged
from bench.common.process import Child, cpu_seconds
from bench.policy.mesh import Mesh, chain
from bench.policy.qos import burning
from bench.rpc.systems import Client
from bench.vectordb import stored
from bench.vectordb.scale import Bench
from bench.vectordb.seats import ONE_THREAD

SET = "synthetic"
SINGLE, BATCHES, FAIR = "service, single searches", "service, batches of 32", "service, a small tenant beside a flood"
POLICIES_ON = "service, policies"
LIBRARY, MESH, GRPC = "library", "mrpc", "grpc"
PLAIN = "mrpc, --batch-threads 1"  # the library has one thread, too
IN_FLIGHT = (1, 2, 4)
LOAD_SECONDS, READY = 300, r"^ready vectordb over \w+(?: at port (\d+))?"
FLOOD_CALLERS = 16  # as many as may wait
REFUSED_CALLERS = 32  # by the service
MANY_CALLERS = 100  # of which the daemon refuses most
RATE = 300  # searches a second of the small tenant
WINDOW_SECONDS = 2.0  # at most, of each measurement of it
ALONE, CONTROL = "alone", "control"
FLOODED, REFUSED, MANY = FLOODS = "flooded", "refused callers at once again", "many refused callers at once again"
APP = "backend"
# The policies that apps/vectordb ships, with limits that are judged and never reached; but that of calls at once by MANY_CALLERS.
BUDGET = Path("apps/vectordb/policies/search_budget.py")
POLICIES = [
    chain([{"name": "budget", "use": f"./{BUDGET.name}", "config": {"results_per_s": 1e12, "burst": 1e12}}], "search", service="vectordb.Points",
          method="Search"),
    chain([{"name": "callers", "use": "concurrency_limit", "config": {"calls_max": 32, "per": ["tenant"]}},
           {"name": "daily", "use": "quota", "config": {"calls_max": 1 << 50, "bytes_max": 1 << 60, "period": "24h"}}], "quota",
          service="vectordb.Points"),
]


class Stage:
    """A database with the set's corpus, copied for each process that opens one; and what serves it."""

    def __init__(self, bench: Bench, folder: Path, mesh: Mesh) -> None:
        self.corpus, self._folder, self._mesh = bench.corpus(SET), folder, mesh
        stored.asked("load", self.corpus, folder / "loaded", LOAD_SECONDS)

    def client(self, system: str) -> Client:
        """The library, or a client of a new service over that system."""
        starts = {LIBRARY: self._library, MESH: self._over_mesh, PLAIN: lambda: self._over_mesh("--batch-threads", "1"), GRPC: self._over_grpc}
        return starts[system]()

    def _library(self) -> Client:
        return self._started(LIBRARY, str(self._copy(LIBRARY)), {})

    def _over_grpc(self) -> Client:
        server = self._serve(GRPC, {})
        return self._started(GRPC, f"127.0.0.1:{server.answer}", {})

    def _over_mesh(self, *flags: str) -> Client:
        """A client of a service on a daemon of its own, with the policies."""
        daemon = self._mesh.daemon("bench")
        self.runtime, self.daemon = daemon.runtime, daemon.child
        daemon.apply(*POLICIES, programs={f"./{BUDGET.name}": BUDGET.read_text()})
        token = daemon.control.call("RegisterApp", name=APP, uid=os.geteuid(), act_as=["*"]).token
        self.server = self._serve(MESH, daemon.env, *flags)
        self._mesh_env = {**daemon.env, "MRPC_TOKEN": token}
        return self.another_over_mesh()

    def another_over_mesh(self) -> Client:
        """One more of the service that was started last."""
        return self._started(MESH, "mrpc:///vectordb.Points", self._mesh_env)

    def _serve(self, system: str, env: dict[str, str], *flags: str) -> Child:
        command = [sys.executable, "-m", "apps.vectordb", "serve", "--dir", str(self._copy(system)), "--transport", system, *flags]
        return self._mesh.stack.enter_context(Child(command, READY, {**ONE_THREAD, **env}))

    def _started(self, system: str, target: str, env: dict[str, str]) -> Client:
        client = Client([sys.executable, "-m", "bench.vectordb.client", system, target, str(self.corpus)], {**ONE_THREAD, **env}, None)
        self._mesh.stack.enter_context(client.child)
        return client

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self._folder / "loaded", tempfile.mkdtemp(dir=self._folder, prefix=name), dirs_exist_ok=True))


@contextmanager
def staged(bench: Bench) -> Iterator[Stage]:
    bench.step("service: load a database")
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        mesh = Mesh(Path(folder), Path(folder), b"")
        with mesh.stack:
            yield Stage(bench, Path(folder), mesh)


def beside_the_library(bench: Bench) -> None:
    with staged(bench) as stage:
        clients = {system: stage.client(system) for system in (LIBRARY, PLAIN, MESH, GRPC)}
        for client in clients.values():
            client.do("single", calls=bench.scale.calls)
        _single(bench, {system: client for system, client in clients.items() if system != PLAIN})
        _batches(bench, clients)
        judged.add(bench.report, MESH, judged.by_daemon(stage.runtime), POLICIES_ON)


def _single(bench: Bench, clients: dict[str, Client]) -> None:
    p50: dict[str, list[float]] = {system: [] for system in clients}
    for turn in range(bench.scale.passes):
        bench.step(f"{SINGLE}, pass {turn + 1}")
        for system, client in clients.items():
            p50[system].append(float(np.percentile(client.do("single", calls=bench.scale.calls), 50)))
    for system, values in p50.items():
        bench.report.add(SINGLE, system, "p50", "us", values)
        if system != LIBRARY:
            over = [mine - library for mine, library in zip(values, p50[LIBRARY], strict=True)]
            bench.report.add(SINGLE, system, "p50 over the library's", "us", over)


def _batches(bench: Bench, clients: dict[str, Client]) -> None:
    """Batches by one caller after another, and by several at a time: threads of the library, threads of one client of a service."""
    rates: dict[tuple[str, int], list[float]] = {(system, in_flight): [] for in_flight in IN_FLIGHT for system in clients}
    for turn in range(bench.scale.passes):
        bench.step(f"{BATCHES}, pass {turn + 1}")
        for (system, in_flight), found in rates.items():
            found.append(clients[system].do("batches", seconds=bench.scale.seconds / 10, in_flight=in_flight))
    for (system, in_flight), values in rates.items():
        bench.report.add(BATCHES, system, f"throughput, {in_flight} at a time", "vectors/s", values)
        if system != LIBRARY:
            ratios = [mine / library for mine, library in zip(values, rates[LIBRARY, in_flight], strict=True)]
            bench.report.add(BATCHES, system, over_the_library(in_flight), "x", ratios)


def over_the_library(in_flight: int) -> str:
    return f"throughput over the library's, {in_flight} at a time"


@dataclass
class Neighbours:
    """A small tenant, a flood, and the processes that work for a flood: its client, the service, the daemon."""

    small: Client
    flood: Client
    working: list[Child]
    seconds: float  # of a measurement

    def p99(self) -> tuple[float, np.ndarray]:
        """Of the small tenant's searches, in microseconds; and what share of a core each process used meanwhile."""
        before, began = self._spent(), time.monotonic()
        times = self.small.do("paced", rate=RATE, seconds=self.seconds)
        return float(np.percentile(times, 99)), (self._spent() - before) / (time.monotonic() - began)

    def flooded(self, callers: int) -> tuple[float, np.ndarray, dict[str, float]]:
        """The same beside so many callers of the flood, and what they got a second."""
        began = time.monotonic()
        self.flood.send("flood", until_told=True, in_flight=callers)
        p99, shares = self.p99()
        self.flood.send("")
        got = self.flood.receive()
        return p99, shares, {name: count / (time.monotonic() - began) for name, count in got.items()}

    def _spent(self) -> np.ndarray:
        return np.array([cpu_seconds([each.pid]) for each in self.working])


def fair(bench: Bench) -> None:
    """The smallest tenant searches at a steady rate, in turns: alone; while the largest has FLOOD_CALLERS batches in flight at any time;
    beside harmless programs that burn as much of the processors as this took; and while so many want to flood that the service, or the
    daemon, refuses some, which call again at once."""
    rows: dict[str, list[float]] = {name: [] for name in (ALONE, CONTROL, *FLOODS)}
    got: dict[str, list[float]] = {}
    with staged(bench) as stage:
        small, flood = stage.client(MESH), stage.another_over_mesh()
        both = Neighbours(small, flood, [flood.child, stage.server, stage.daemon], min(WINDOW_SECONDS, bench.scale.seconds))
        small.do("paced", rate=RATE, seconds=both.seconds)
        for turn in range(bench.scale.passes):
            bench.step(f"{FAIR}, round {turn + 1}")
            alone, idle = both.p99()
            rows[ALONE].append(alone)
            busy = {}
            for name, callers in zip(FLOODS, (FLOOD_CALLERS, REFUSED_CALLERS, MANY_CALLERS), strict=True):
                p99, busy[name], served = both.flooded(callers)
                rows[name].append(p99)
                for each, value in served.items():
                    got.setdefault(f"{name}: {each}", []).append(value)
            with burning(np.maximum(busy[FLOODED] - idle, 0).tolist()):
                rows[CONTROL].append(both.p99()[0])
    for name, values in rows.items():
        bench.report.add(FAIR, MESH, f"p99, {name}", "us", values)
        if name != ALONE:
            ratios = [value / calm for value, calm in zip(values, rows[ALONE], strict=True)]
            bench.report.add(FAIR, MESH, over_alone(name), "x", ratios)
    for name, values in got.items():
        bench.report.add(FAIR, MESH, name, "1/s", values)


def over_alone(name: str) -> str:
    return f"p99, {name} over {ALONE}"
