"""One budget of three daemons: how well it holds, and what is left of it while the store is away."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.common.process import Child
from bench.policy.mesh import Daemon, Kit, Mesh, chain
from bench.policy.scale import Bench
from bench.rpc.systems import Client, free_port

RATE = 300.0
SHARE = 0.3
OFFERED = {"a": 400.0, "b": 200.0, "c": 100.0}  # calls a second at each daemon: together more than the budget, unevenly
SETTLE_S = 2.0
AWAY_S = 30.0  # until every daemon must have noticed that the store is away
WORK = "global rate limit"
DOCUMENT = chain([{"name": "budget", "use": "global_rate_limit", "config": {"requests_per_second": RATE, "burst": 30.0, "local_share": SHARE}}])


def three_daemons(bench: Bench, kit: Kit) -> None:
    bench.step("global rate limit")
    with kit.mesh() as mesh:
        folder = Path(mesh.stack.enter_context(tempfile.TemporaryDirectory(dir=kit.folder)))
        port = free_port()
        redis = mesh.stack.enter_context(Child(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)],
            "Ready to accept connections"))
        daemons = {name: mesh.daemon(name, "--policy-store", f"redis://127.0.0.1:{port}/0") for name in OFFERED}
        clients = {name: _client(mesh, daemon) for name, daemon in daemons.items()}
        shared = _granted(bench, clients)
        bench.report.add(WORK, "mrpc", "granted", "calls/s", [sum(shared.values())])
        bench.report.add(WORK, "mrpc", "off its budget", "%", [abs(sum(shared.values()) / RATE - 1) * 100])
        bench.step("global rate limit, store away")
        redis.stop()
        _await_away(daemons)
        alone = _granted(bench, clients)
        for name, rate in alone.items():
            bench.report.add(f"{WORK}, store away", f"mrpc, daemon {name}", "granted", "calls/s", [rate])
        stated = {name: min(RATE * SHARE, OFFERED[name]) for name in alone}
        bench.report.add(f"{WORK}, store away", "mrpc", "off its share, the worst of three", "%",
                         [max(abs(alone[name] / stated[name] - 1) * 100 for name in alone)])


def _client(mesh: Mesh, daemon: Daemon) -> Client:
    mesh.server(daemon)
    client = mesh.client(daemon)
    daemon.apply(DOCUMENT)
    return client


def _granted(bench: Bench, clients: dict[str, Client]) -> dict[str, float]:
    """Calls a second that each daemon let pass, once bursts are spent."""
    begins = time.monotonic() + SETTLE_S
    ends = begins + bench.scale.limit_seconds
    for name, client in clients.items():
        client.send("granted", rate=OFFERED[name], begins=begins, ends=ends)
    return {name: client.receive()["granted"] / bench.scale.limit_seconds for name, client in clients.items()}


def _await_away(daemons: dict[str, Daemon]) -> None:
    """Until every daemon says that it spends its share alone."""
    deadline = time.monotonic() + AWAY_S
    for name, daemon in daemons.items():
        while any(lease.shared for lease in daemon.control.call("Show").leases):
            if time.monotonic() > deadline:
                raise RuntimeError(f"daemon {name} did not notice within {AWAY_S:g} s that the store is away")
            time.sleep(0.1)
