"""What a policy costs a call: in the datapath, by the daemon's cycle counters; as Python; and as Envoy's filter, where it has one like it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.common.statistics import percentile
from bench.policy.mesh import OFF, Daemon, Kit, chain
from bench.policy.scale import Bench
from bench.rpc.systems import Client
from mrpc_service.control.client import ControlError

MANY = 1e9
KEYS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPjHURo"}]}'
# Configurations under which each policy judges and lets pass. The simple ones have at most a row of state, and no store behind them.
SIMPLE = {
    "access_control": {"field": "tag", "deny": ["nobody", "mallory"]},
    "rate_limit": {"requests_per_second": MANY},
    "concurrency_limit": {"calls_max": 1_000_000},
    "fault": {"abort_fraction": 0.0, "only": ["tag"], "values": ["nobody"]},
    "header_mutation": {"remove": []},
    "quota": {"calls_max": 1_000_000_000, "bytes_max": 1 << 50},
    "size_limit": {},
    "sticky_key": {"field": "tag"},
    "global_rate_limit": {"requests_per_second": MANY, "burst": MANY, "local_share": 1.0},
    "request_log": {"fields": ["tag"], "fraction": 0.0},
}
OTHERS = {
    "adaptive_concurrency": {"least": 100.0},
    "cache": {"keys": ["tag"], "ttl": "1h"},
    "field_mutation": {"field": "tag", "value": "somebody"},
}
TEN = ["size_limit", "rate_limit", "quota", "concurrency_limit", "access_control", "fault", "header_mutation", "global_rate_limit",
       "request_log", "sticky_key"]
CHAIN = "chain of ten"
IN_FLIGHT = 16


def policies(bench: Bench, kit: Kit) -> None:
    """Each policy alone in force, then ten in one chain: nanoseconds in their hooks for each call."""
    works = {f"policy {name}": {name: config} for name, config in {**SIMPLE, **OTHERS}.items()}
    works[CHAIN] = {name: SIMPLE[name] for name in TEN}
    with kit.mesh() as mesh:
        daemon = mesh.daemon("bench")
        mesh.server(daemon)
        client = mesh.client(daemon)
        for work, chosen in works.items():
            bench.step(work)
            try:
                measure(bench, daemon, client, work, chosen)
            except (RuntimeError, ControlError) as error:  # costs its own row only
                bench.report.fail(work, "mrpc", error)
                daemon.apply(OFF)
                client = mesh.client(daemon)


def measure(bench: Bench, daemon: Daemon, client: Client, work: str, chosen: dict[str, dict]) -> None:
    """Rows of what all of `chosen` together take: with calls one behind the other, and with one at a time, before which the shard has slept."""
    uses = [{"name": name.replace("_", "-"), "use": name, "config": config} for name, config in chosen.items()]
    daemon.apply(chain(uses))
    client.do("until_passed")
    loads = {"in the datapath": partial(client.do, "pipelined", in_flight=IN_FLIGHT),
             "in the datapath, one call at a time": partial(client.do, "latency")}
    for metric, load in loads.items():
        load(size=64, calls=50)
        bench.report.add(work, "mrpc", metric, "ns/call",
                         [_spent(daemon, lambda load=load: load(size=64, calls=bench.scale.calls)) / bench.scale.calls
                          for _ in range(bench.scale.repeats)])


def _spent(daemon: Daemon, load: Callable[[], object]) -> int:
    """Nanoseconds that policies took meanwhile. Raises RuntimeError when one judged nothing."""
    before = daemon.policies()
    load()
    spent = 0
    for name, (evaluations, ns) in daemon.policies().items():
        was = before.get(name, (0, 0))
        if evaluations == was[0]:
            raise RuntimeError(f"{name} judged nothing")
        spent += ns - was[1]
    return spent


def on_minus_off(bench: Bench, kit: Kit) -> None:
    """The same calls with a chain of ten and without, in turn: what policies add to a call's p50 in all."""
    bench.step("chain of ten, on and off")
    uses = [{"name": name.replace("_", "-"), "use": name, "config": SIMPLE[name]} for name in TEN]
    with kit.mesh() as mesh:
        daemon = mesh.daemon("bench")
        mesh.server(daemon)
        client = mesh.client(daemon)
        differences = []
        for turn in range(2 * bench.scale.repeats):
            p50 = {}
            for on in (turn % 2 == 0, turn % 2 == 1):
                daemon.apply(chain(uses) if on else OFF)
                client.do("until_passed")
                p50[on] = percentile(client.do("latency", size=64, calls=bench.scale.calls, warmup=50), 50)
            differences.append(p50[True] - p50[False])
    bench.report.add(CHAIN, "mrpc", "p50, on minus off", "ns/call", differences)
