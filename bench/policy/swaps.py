"""Programs swapped under load: whether calls notice, how long shards stand still, what compiling costs and leaves behind.

Callers number their calls; the server keeps account; the swapped program counts the calls that it judges in state that moves from each version
to the next. All three must agree. Callers are at two daemons: local ones at the server's, others behind TCP; each has large calls in flight."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.common.process import family, memory_mib
from bench.common.statistics import percentile
from bench.policy.mesh import Daemon, Kit, Mesh, chain
from bench.policy.scale import Bench
from bench.rpc.systems import Client, free_port

LARGE = 8 << 20
SIZES = {"small": (64, 8), "large": (LARGE, 2)}  # bytes, in flight
WORK = "swaps under load"
COLD = "compile, cold"
TWENTY = "20 policies"
MEMORY = "distinct programs, one after another"
PROBE = "?total"
# Counts calls; tells how many when asked. `@` makes each version a program of its own.
COUNTER = '''\
"""Counts the calls that it judges."""

from mrpc_service.policy import ABORTED, Field, Policy, deny, state


class Counter(Policy):
    tag: Field

    judged: int = state(per="global")

    def on_request(self, call, request):
        if request[self.tag] == "?total":
            return deny(ABORTED, f"{self.judged} calls, version @")
        self.judged += 1
'''
DOCUMENT = chain([{"name": "counter", "use": "./counter.py", "config": {"tag": "tag"}}], "counter", side="server")
NEAR_DOCUMENT = chain([{"name": "counter", "use": "./counter.py", "config": {"tag": "tag"}}], "counter", side="client")


def swap(daemon: Daemon, version: int, document: str = DOCUMENT) -> Any:
    return daemon.apply(document, programs={"./counter.py": COUNTER.replace("@", str(version))})


def under_load(bench: Bench, kit: Kit) -> None:
    with kit.mesh() as mesh:
        port = free_port()
        far = mesh.daemon("far", "--listen", f"127.0.0.1:{port}", "--insecure")
        mesh.server(far, threads=1)
        near = mesh.daemon("near", "--peer", f"127.0.0.1:{port}")
        clients = {f"{where}-{what}": (mesh.client(daemon), *SIZES[what])
                   for where, daemon in {"local": far, "tcp": near}.items() for what in SIZES}
        asker = mesh.client(far)
        swap(far, 0)
        swap(near, 0, NEAR_DOCUMENT)
        already = _judged(asker)
        for name, (client, size, in_flight) in clients.items():
            client.send("numbered", until_told=True, name=name, size=size, in_flight=in_flight)
        try:
            _swap_all(bench, far, near)
        finally:
            told = {name: _stop(client) for name, (client, _, _) in clients.items()}
        _account(bench, told, asker, _judged(asker) - already)


def _swap_all(bench: Bench, far: Daemon, near: Daemon) -> None:
    """Every second swap at the server's daemon, the others at the callers'."""
    pauses, switches, compiles = [], [], []
    for version in range(1, bench.scale.swaps + 1):
        if version % 25 == 1:
            bench.step(f"swap {version}")
        report = swap(far, version) if version % 2 else swap(near, version, NEAR_DOCUMENT)
        pauses += [shard.pause_ns for shard in report.shards]
        switches.append(report.switch_ns)
        compiles.append(report.compile_ns)
    add = bench.report.add
    add(WORK, "mrpc", "swaps", "", [bench.scale.swaps])
    add(WORK, "mrpc", "pause p50", "us", [percentile(pauses, 50) / 1e3])
    add(WORK, "mrpc", "pause p99", "us", [percentile(pauses, 99) / 1e3])
    add(WORK, "mrpc", "switch p50", "ms", [percentile(switches, 50) / 1e6])
    add(WORK, "mrpc", "switch p99", "ms", [percentile(switches, 99) / 1e6])
    add("compile, warm", "mrpc", "p50", "ms", [percentile(compiles, 50) / 1e6])
    add("compile, warm", "mrpc", "p99", "ms", [percentile(compiles, 99) / 1e6])


def _stop(client: Client) -> dict[str, Any]:
    client.send("")  # any line ends it
    return client.receive()


def _judged(asker: Client) -> int:
    """How many calls the program has counted through all of its versions."""
    return int(asker.do("details", tag=PROBE).partition("calls, version")[0].split()[-1])


def _account(bench: Bench, told: dict[str, dict[str, Any]], asker: Client, judged: int) -> None:
    accounts = {name: asker.do("account", name=name) for name in told}
    begun = sum(each["begun"] for each in told.values())
    lost = sum(max(0, told[name]["begun"] - told[name]["failed"] - each["calls"] + each["repeated"]) for name, each in accounts.items())
    rows = {
        "calls": begun, "failed": sum(each["failed"] for each in told.values()), "lost": lost,
        "duplicated": sum(each["repeated"] for each in accounts.values()), "out of order": sum(each["late"] for each in accounts.values()),
        "wrong replies": sum(each["wrong"] for each in told.values()),
        "not judged exactly once": abs(judged - begun),
    }
    for name, value in rows.items():
        bench.report.add(WORK, "mrpc", name, "calls", [value])
    for name, each in told.items():
        bench.report.add(WORK, f"mrpc, {name}", "calls", "calls", [each["begun"]])
        bench.report.notes += [f"{WORK}, {name}: {why}" for why in each["why"]]


def _private_mib(pid: int) -> float:
    return memory_mib(pid) - memory_mib(pid, "Pss_Shmem")


def cold_compiles(bench: Bench, kit: Kit) -> None:
    """The first program of a daemon that has compiled nothing: its helper starts, and its cache is empty."""
    found = []
    for turn in range(bench.scale.cold_compiles):
        bench.step(COLD)
        with kit.mesh() as mesh:
            daemon = mesh.daemon("cold")
            mesh.server(daemon)
            mesh.client(daemon)
            found.append(swap(daemon, turn).compile_ns / 1e6)
    bench.report.add(COLD, "mrpc", "p50", "ms", [median(found)])


def memory_left(bench: Bench, kit: Kit) -> None:
    """As many distinct programs, one after another, in a daemon that does nothing else: what it grew by over the last half of them."""
    with kit.mesh() as mesh:
        daemon = mesh.daemon("memory")
        mesh.server(daemon)
        mesh.client(daemon)
        sizes = []
        for version in range(bench.scale.swaps):
            if version % 25 == 0:
                bench.step(f"memory, program {version}")
            swap(daemon, version)
            sizes.append(_private_mib(daemon.child.pid))
    bench.report.add(MEMORY, "mrpc", "daemon rss, in the end", "MiB", [sizes[-1]])
    bench.report.add(MEMORY, "mrpc", "grown by, last half", "MiB", [sizes[-1] - sizes[len(sizes) // 2]])


def twenty_policies(bench: Bench, kit: Kit) -> None:
    """Resident memory of a daemon with twenty different programs in force, its compile helpers counted while they live."""
    bench.step(TWENTY)
    with kit.mesh() as mesh:
        daemon = _loaded(mesh)
        everyone = family(daemon.child.pid)
        bench.report.add(TWENTY, "mrpc", "daemon rss", "MiB", [_private_mib(daemon.child.pid)])
        bench.report.add(TWENTY, "mrpc", "daemon and helpers rss", "MiB", [sum(_private_mib(pid) for pid in everyone)])
        bench.report.add(TWENTY, "mrpc", "helpers", "", [len(everyone) - 1])


def _loaded(mesh: Mesh) -> Daemon:
    daemon = mesh.daemon("twenty")
    mesh.server(daemon)
    client = mesh.client(daemon)
    uses = [{"name": f"counter-{at}", "use": f"./counter_{at}.py", "config": {"tag": "tag"}} for at in range(20)]
    daemon.apply(chain(uses), programs={f"./counter_{at}.py": COUNTER.replace("@", str(at)) for at in range(20)})
    client.do("latency", size=64, calls=100)
    return daemon
