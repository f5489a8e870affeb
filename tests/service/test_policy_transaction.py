"""The transaction of an apply, step by step: with a store of its own, and a data plane and a compiler that say what they are told to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mrpc_service.chains import requests, store
from mrpc_service.chains.apply import ChainKeeper, Conflict, Gate, Unwritten, WouldDeny
from mrpc_service.chains.binding import Binder
from mrpc_service.chains.model import Layers
from mrpc_service.chains.programs import ProgramLibrary
from mrpc_service.chains.store import RevisionStore
from mrpc_service.errors import ConfigError, StartupError
from mrpc_service.policy.compiler_api import PolicyError, Target
from mrpc_service.policy.errors import Problem
from mrpc_service.store import open_store

GREETER = {"service": "test.Greeter", "fingerprint": 7, "methods": ["Greet", "Watch"], "schema": b"first"}
OTHER = {"service": "test.Greeter", "fingerprint": 8, "methods": ["Greet"], "schema": b"second"}


@dataclass
class FakeProgram:
    file: str
    source: str
    needs_layout: bool = True
    name = "Program"
    summary = ""
    config_fields: Mapping[str, str] = field(default_factory=dict)
    live_fields: frozenset[str] = frozenset()

    @property
    def source_sha256(self) -> str:
        return sha256(self.source.encode()).hexdigest()

    def check_config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(given)


class FakeCompiler:
    """Refuses sources with `syntax` in them, and to compile those with `misfit` for the first schema."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, str, Any]] = []
        self.kept: set[str] = set()

    async def load(self, source: str, file: str) -> FakeProgram:
        if "syntax" in source:
            raise PolicyError([Problem(file, 3, 1, "a while loop", "use for")])
        return FakeProgram(file, source, "anywhere" not in source)

    async def compile(self, program: FakeProgram, config: Any, target: Target | None, previous: Any = None) -> dict[str, Any]:
        where = f"{target.service}/{target.method}" if target else "*"
        self.compiled.append((program.source, where, previous and previous["source_sha256"][:4]))
        if "misfit" in program.source and target and target.schema == b"first":
            raise PolicyError([Problem(program.file, 5, 1, "there is no field 'nome'", "did you mean 'name'?")])
        return {"object": f"/{program.source_sha256[:8]}/{where}", "source_sha256": program.source_sha256, "needs_layout": target is not None}

    def forget_unused(self, in_use: set[str]) -> None:
        self.kept = in_use


class FakeDataplane:
    def __init__(self) -> None:
        self.on_offer: list[dict[str, Any]] = []
        self.applied: list[tuple[list[dict[str, Any]], list[Any]]] = []
        self.added: list[Any] = []
        self.given_up: list[tuple[str, int, str]] = []
        self.dry: dict[str, Any] = {"calls": 0, "denied": 0, "policies": []}
        self.refuse: Callable[[], str] = lambda: ""

    def schemas(self) -> list[dict[str, Any]]:
        return list(self.on_offer)

    def apply_chains(self, chains: list[dict[str, Any]], bindings: list[Any]) -> dict[str, Any]:
        if reason := self.refuse():
            raise ValueError(reason)
        self.applied.append((chains, bindings))
        return {"epoch": len(self.applied), "pause_ns_max": 900,
                "shards": [{"index": 0, "pause_ns": 900, "calls_in_flight": 2, "rows_carried": 3}]}

    def dry_run(self, chains: list[dict[str, Any]], bindings: list[Any]) -> dict[str, Any]:
        return self.dry

    def add_bindings(self, bindings: list[Any]) -> None:
        self.added += bindings

    def give_up_bindings(self, service: str, fingerprint: int, reason: str) -> None:
        self.given_up.append((service, fingerprint, reason))


class Bench:
    """A keeper with what it needs, on a store that outlives it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dataplane, self.compiler = FakeDataplane(), FakeCompiler()
        self.library = ProgramLibrary(self.compiler, [path])  # type: ignore[arg-type]
        self.store = RevisionStore(open_store(path / "mrpcd.db"))
        self.keeper = ChainKeeper(self.dataplane, Binder(self.compiler), self.store)  # type: ignore[arg-type]

    async def start(self, *, reset: bool = False) -> Bench:
        applied = await requests.restore(self.store, self.library, self.path / "mrpcd.db", reset=reset)
        await self.keeper.start([], applied)
        return self

    async def apply(self, *names: str, source: str = "reads", against: int | None = None, gate: Gate | None = None, **more: Any) -> Any:
        return await self.keeper.change(await self.make(*names, source=source, **more), "apply", 1000, against=against, gate=gate)

    async def make(self, *names: str, source: str = "reads", **more: Any) -> requests.Make:
        texts = [requests.Text("f", document(name), {"./p.py": source}) for name in names]
        return await requests.make_layers(requests.Request(texts, **more), self.library)

    def in_force(self) -> list[str]:
        return [chain.name for chain in self.keeper.layers.in_force()]

    def states(self) -> list[tuple[int, str]]:
        return [(each.revision, each.state) for each in self.store.history(10)]


def document(name: str, use: str = "./p.py") -> str:
    return (f"apiVersion: mrpc/v1alpha1\nkind: PolicyChain\nmetadata: {{name: {name}}}\n"
            f"spec: {{selector: {{service: test.Greeter}}, policies: [{{name: p, use: {use}}}]}}\n")


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    made = await Bench(tmp_path).start()
    made.dataplane.on_offer = [GREETER]
    return made


async def test_a_program_is_compiled_for_each_method_that_its_chain_selects(bench: Bench) -> None:
    report = await bench.apply("a")
    _, bindings = bench.dataplane.applied[-1]
    assert [(each["service"], each["method"], each["fingerprint"]) for each in bindings] == [
        ("test.Greeter", "Greet", 7), ("test.Greeter", "Watch", 7)]
    assert report["programs"][0] | {"sha256": ""} == {"chain": "a", "policy": "p", "file": "p.py", "sha256": "", "methods": 2}
    assert bench.compiler.kept == {each["spec"]["object"] for each in bindings}


async def test_a_program_that_reads_no_message_is_compiled_once(bench: Bench) -> None:
    await bench.apply("a", source="fits anywhere")
    assert [(each["service"], each["fingerprint"]) for each in bench.dataplane.applied[-1][1]] == [("", 0)]
    bench.dataplane.on_offer.append(OTHER)
    await bench.keeper.provide("test.Greeter", 8)
    assert bench.dataplane.added == [] and bench.dataplane.given_up == []


async def test_a_new_program_is_told_what_the_one_before_kept_and_the_same_one_is_not(bench: Bench) -> None:
    await bench.apply("a", source="reads one")
    await bench.apply("a", source="reads one")
    await bench.apply("a", source="reads two")
    told = [previous for _, where, previous in bench.compiler.compiled if where.endswith("Greet")]
    assert told == [None, None, sha256(b"reads one").hexdigest()[:4]]


@pytest.mark.parametrize(("source", "reason"), [("syntax", "p.py:3:1: a while loop"), ("misfit", "on test.Greeter/Greet: p.py:5")])
async def test_what_does_not_compile_changes_nothing_and_is_told_for_each_edge(bench: Bench, source: str, reason: str) -> None:
    await bench.apply("a")
    with pytest.raises(ConfigError) as caught:
        await bench.apply("a", "b", source=source)
    assert reason in str(caught.value)
    assert source == "syntax" or str(caught.value).count("did you mean 'name'?") == 4
    assert bench.in_force() == ["a"] and bench.states() == [(2, "committed"), (1, "committed")]


async def test_a_data_plane_that_refuses_leaves_what_ran_and_the_reason(bench: Bench) -> None:
    await bench.apply("a")
    bench.dataplane.refuse = lambda: "no room"
    with pytest.raises(ConfigError, match="refused: no room"):
        await bench.apply("b")
    assert bench.in_force() == ["a"] and bench.keeper.revision == 2
    failed = bench.store.history(1)[0]
    assert (failed.revision, failed.state, failed.report) == (3, "failed", {"error": "no room"})
    bench.dataplane.refuse = lambda: ""
    assert (await bench.apply("b"))["revision"] == 4  # a number is never used twice


async def test_a_service_that_comes_on_offer_meanwhile_is_compiled_for(bench: Bench) -> None:
    def once() -> str:
        bench.dataplane.on_offer, bench.dataplane.refuse = [GREETER, OTHER], lambda: ""
        return "a policy has no program for test.Greeter"

    bench.dataplane.refuse = once
    await bench.apply("a")
    assert {each["fingerprint"] for each in bench.dataplane.applied[-1][1]} == {7, 8}


async def test_a_later_service_is_compiled_for_or_given_up_with_the_reason(bench: Bench) -> None:
    bench.dataplane.on_offer = []
    await bench.apply("a", source="misfit")
    bench.dataplane.on_offer = [GREETER, OTHER]
    await bench.keeper.provide("test.Greeter", 8)
    assert [(each["method"], each["fingerprint"]) for each in bench.dataplane.added] == [("Greet", 8)]
    await bench.keeper.provide("test.Greeter", 7)
    ((service, fingerprint, reason),) = bench.dataplane.given_up
    assert (service, fingerprint) == ("test.Greeter", 7) and "there is no field 'nome'" in reason
    assert bench.keeper.unfit == {("test.Greeter", 7): reason}


# ---- the dry run's gate


def dry(calls: int, denied: int) -> dict[str, Any]:
    policy = {"chain": "a", "policy": "p", "evaluated": calls, "denied": denied, "faults": 0, "newly_denied": denied, "newly_passed": 0,
              "unjudged": 0, "withheld": [], "examples": [{"client": "front", "service": "test.Greeter", "method": "Greet", "text": "no"}]}
    return {"calls": calls, "denied": denied, "policies": [policy]}


@pytest.mark.parametrize(
    ("found", "gate", "stopped"),
    [
        (dry(100, 51), Gate(), True),
        (dry(100, 50), Gate(), False),
        (dry(9, 9), Gate(), False),
        (dry(10, 10), Gate(), True),
        (dry(100, 100), Gate(force=True), False),
        (dry(100, 11), Gate(share_max=0.1), True),
    ],
)
async def test_a_change_that_would_deny_too_many_calls_needs_force(bench: Bench, found: Any, gate: Gate, stopped: bool) -> None:
    bench.dataplane.dry = found
    if stopped:
        with pytest.raises(WouldDeny, match=r"of the last \d+ calls would newly be denied .*front -> test.Greeter/Greet: no.*--force"):
            await bench.apply("a", gate=gate)
    else:
        assert (await bench.apply("a", gate=gate))["newly_denied"] == found["denied"]
    assert bench.in_force() == ([] if stopped else ["a"])
    assert bench.keeper.stats.outcomes["would_deny"] == stopped


async def test_trying_out_changes_nothing(bench: Bench) -> None:
    bench.dataplane.dry = dry(20, 20)
    report = await bench.keeper.try_out(await bench.make("a"), 1)
    assert report["newly_denied"] == 20 and report["changes"] == ["+a"]
    assert bench.in_force() == [] and bench.states() == [(1, "committed")]


# ---- two operators


async def test_of_two_changes_at_once_against_one_revision_one_is_told_of_the_other(bench: Bench) -> None:
    both = await asyncio.gather(bench.apply("a", against=1), bench.apply("b", against=1), return_exceptions=True)
    (conflict,) = [each for each in both if isinstance(each, Conflict)]
    won = "+a" if isinstance(both[1], Conflict) else "+b"
    assert f"revision 2 by uid:1000 at" in str(conflict) and won in str(conflict)  # noqa: F541
    assert bench.in_force() == [won[1:]]


async def test_changes_that_were_made_one_after_the_other_lose_nothing(bench: Bench) -> None:
    await asyncio.gather(*(bench.apply(name) for name in "abcdef"))
    assert bench.in_force() == list("abcdef")
    assert [chain.changed_in for chain in bench.keeper.layers.in_force()] == [2, 3, 4, 5, 6, 7]


async def test_an_operator_who_goes_away_does_not_interrupt_a_change(bench: Bench) -> None:
    reached = asyncio.Event()
    bench.keeper.reached = lambda step: reached.set()  # type: ignore[method-assign]
    task = asyncio.ensure_future(bench.apply("a"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.keeper.settle()
    assert bench.in_force() == ["a"] and bench.states()[0] == (2, "committed")


# ---- after a restart


async def test_what_was_applied_comes_back_with_its_programs(bench: Bench, tmp_path: Path) -> None:
    await bench.apply("b", "a", source="reads this")
    again = await Bench(tmp_path).start()
    assert again.in_force() == ["b", "a"] and again.keeper.revision == 2
    assert again.keeper.records() == bench.keeper.records()
    assert again.states()[0] == (2, "committed")  # the start, which changed nothing


@pytest.mark.parametrize(("step", "after"), [("intent", ["a"]), ("switched", ["a"]), ("committed", ["a", "b"])])
async def test_a_death_between_two_steps_leaves_what_ran_or_what_was_committed(
    bench: Bench, tmp_path: Path, step: str, after: list[str]
) -> None:
    class Died(BaseException):
        pass

    def die(reached: str) -> None:
        if reached == step:
            raise Died

    await bench.apply("a")
    bench.keeper.reached = die  # type: ignore[method-assign]
    with pytest.raises(Died):
        await bench.apply("b")
    again = await Bench(tmp_path).start()
    assert again.in_force() == after
    assert ((3, "abandoned") in again.states()) == (step != "committed")
    assert (await again.apply("c"))["revision"] == 4


async def test_a_change_that_cannot_be_written_down_at_the_end_is_in_force_until_a_restart(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(row: int, report: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await bench.apply("a")
    with monkeypatch.context() as patch, pytest.raises(Unwritten, match="revision 3 is in force, but could not be written down"):
        patch.setattr(bench.store, "commit", full)
        await bench.apply("b")
    assert bench.in_force() == ["a", "b"]
    assert (await Bench(tmp_path).start()).in_force() == ["a"]


async def test_a_store_whose_program_is_damaged_is_told_and_kept_aside(bench: Bench, tmp_path: Path) -> None:
    await bench.apply("a")
    with sqlite3.connect(tmp_path / "mrpcd.db") as db:
        db.execute("UPDATE programs SET source = 'other'")
    db.close()
    with pytest.raises(StartupError, match="damaged .* a copy is kept as .*--reset-store"):
        await Bench(tmp_path).start()
    (kept,) = [path for path in tmp_path.iterdir() if "damaged" in path.name and path.suffix != ".db-wal" and "-wal" not in path.name
               and "-shm" not in path.name]
    assert kept.stat().st_size > 0
    again = await Bench(tmp_path).start(reset=True)
    assert again.in_force() == []


async def test_history_is_bounded_and_keeps_what_is_in_force(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "REVISIONS_KEPT", 5)
    for number in range(8):
        await bench.apply("a", source=f"reads {number}")
    assert [each.revision for each in bench.store.history(100)] == [9, 8, 7, 6, 5]
    bench.dataplane.refuse = lambda: "no"
    for _ in range(10):
        with pytest.raises(ConfigError):
            await bench.apply("b")
    current = bench.store.current()
    assert current is not None and current.revision == 9
    assert bench.store.sources(current.chains[0]["programs"].values())
    assert len(bench.store.history(100)) <= 6


async def test_a_rollback_takes_the_programs_of_then(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("reads old")
    texts = [requests.Text("f", document("a", "lib"), {})]
    await bench.keeper.change(await requests.make_layers(requests.Request(texts), bench.library), "apply", 0)
    before = bench.keeper.records()
    (tmp_path / "lib.py").write_text("reads new")
    await bench.keeper.change(await requests.make_layers(requests.Request(texts), bench.library), "apply", 0)
    assert bench.keeper.records() != before
    await bench.keeper.change(await requests.roll_back(bench.store, bench.library, 2), "rollback to 2", 0)
    assert [record["programs"] for record in bench.keeper.records()] == [record["programs"] for record in before]


async def test_layers_keep_the_order_of_files_then_of_first_applies(bench: Bench) -> None:
    for name in ("one", "two"):
        await bench.apply(name)
    files = (await bench.make("f1", "f2", "f3"))(Layers()).applied
    await bench.keeper.change(requests.replace_config(files), "reload", 0)
    await bench.apply("f2", adopt=True, source="reads mine")
    assert bench.in_force() == ["f1", "f2", "f3", "one", "two"]
    with pytest.raises(ConfigError, match="belongs to f, document 1"):
        await bench.apply("f1")
