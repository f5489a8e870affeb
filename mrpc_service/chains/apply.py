"""The one way to change the chains in force: a transaction over all shards and all documents.

    1. conflict   refused if others changed what this change was made against
    2. compile    every program, for every method on offer that its chain selects
    3. dry run    the recorded calls are judged by the new chains; refused if too many would newly be denied, unless forced
    4. intent     what is to be in force is written to the store          (a crash from here to 6: the old chains come back)
    5. switch     the data plane builds beside and switches each shard between two turns, or refuses as a whole
    6. commit     the store's row is committed, with the report

A failure at any step but the last leaves in force what was. Changes run one at a time; a client that goes away does not interrupt one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mrpc_service.chains.binding import Binder, Edge, edges_of
from mrpc_service.chains.model import Chain, Layers, Record, changes
from mrpc_service.chains.stats import ChangeStats
from mrpc_service.chains.store import Revision, RevisionStore
from mrpc_service.dataplane_api import Binding, Dataplane, DryRun
from mrpc_service.errors import ConfigError

log = logging.getLogger("mrpcd.policy")
ATTEMPTS = 3  # when services come on offer while programs are compiled
SHARE_MAX = 0.5
CALLS_MIN = 10


class Conflict(Exception):
    """Others changed the chains since the caller looked; the text says who, when and what."""


class WouldDeny(Exception):
    """The dry run says that too many calls would be denied that were let pass."""

    def __init__(self, text: str, report: dict[str, Any]) -> None:
        super().__init__(text)
        self.report = report


class Unwritten(Exception):
    """In force, but not in the store, so that a restart brings back what was before."""


OUTCOMES: dict[type[Exception], str] = {ConfigError: "refused", Conflict: "conflict", WouldDeny: "would_deny"}


@dataclass(frozen=True)
class Gate:
    """When a dry run stops a change: a share of newly denied calls above `share_max`, of at least CALLS_MIN recorded ones."""

    force: bool = False
    share_max: float = SHARE_MAX


@dataclass
class Prepared:
    """A change that was checked against everything but the data plane's own verdict."""

    layers: Layers
    bindings: list[Binding]
    fingerprints: set[int]
    report: dict[str, Any] = field(default_factory=dict)


class ChainKeeper:
    """What is in force, and its revision."""

    reached: Callable[[str], None] = staticmethod(lambda step: None)  # fault points: tests end the daemon here
    on_change: Callable[[], None] = staticmethod(lambda: None)  # other programs are in force

    def __init__(self, dataplane: Dataplane, binder: Binder, store: RevisionStore) -> None:
        self._dataplane, self._binder, self.store = dataplane, binder, store
        self.schemas = dataplane.schemas  # of the services on offer; a successor asks its predecessor
        self.layers = Layers()
        self.bindings: list[Binding] = []
        self.unfit: dict[tuple[str, int], str] = {}  # service, fingerprint -> why no program can be made for it
        self.epoch = 0
        self.revision = 0
        self.stats = ChangeStats()
        self._changing = asyncio.Lock()

    def records(self) -> list[Record]:
        return self.layers.records()

    async def start(self, config: Sequence[Chain], applied: Sequence[Chain], cause: str = "start") -> None:
        """Put in force what the files and the store say. A revision of its own only if that is not what was in force. ConfigError."""
        current = self.store.current()
        before = current.chains if current else []
        self.revision = current.revision if current else self.store.next_revision()
        layers = Layers(tuple(config), tuple(applied))
        for name in {chain.name for chain in config} & {chain.name for chain in applied}:
            log.warning("chain %s is in the files and is applied: the applied one is in force; 'mrpc policy delete %s' ends that", name, name)
        async with self._changing:
            await self._switch(await self._prepare(layers, None, before), cause, os.geteuid())

    @contextlib.asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Wait for a change that is under way; others wait until the context ends."""
        async with self._changing:
            yield

    async def settle(self) -> None:
        """Wait for a change that is under way."""
        async with self.unchanged():
            pass

    # ---- the transaction

    async def change(
        self, make: Callable[[Layers], Layers], cause: str, uid: int, *, against: int | None = None, gate: Gate | None = None
    ) -> dict[str, Any]:
        """Put what `make` makes of the layers in force; returns the report.

        `against`: the revision that the operator looked at. Without a gate there is no dry run.
        ConfigError, Conflict, WouldDeny: nothing has changed."""
        try:
            return await asyncio.shield(asyncio.ensure_future(self._change(make, cause, uid, against, gate)))
        except tuple(OUTCOMES) as error:
            self.stats.outcomes[OUTCOMES[type(error)]] += 1
            raise

    async def _change(
        self, make: Callable[[Layers], Layers], cause: str, uid: int, against: int | None, gate: Gate | None
    ) -> dict[str, Any]:
        async with self._changing:
            self._check_revision(against)
            for attempt in range(1, ATTEMPTS + 1):
                prepared = await self._prepare(make(self.layers), gate)
                try:
                    return await self._switch(prepared, cause, uid)
                except ConfigError:
                    if attempt == ATTEMPTS or not await self._new_on_offer(prepared):
                        raise
        raise AssertionError("the last attempt returns or raises")

    async def try_out(self, make: Callable[[Layers], Layers], against: int | None) -> dict[str, Any]:
        """All of a change up to the dry run, and its report. ConfigError, Conflict."""
        self._check_revision(against)
        return (await self._prepare(make(self.layers), Gate(force=True))).report

    def _check_revision(self, against: int | None) -> None:
        if against is not None and against != self.revision:
            raise Conflict(self.conflict_text(against, self.store.after(against)))

    def conflict_text(self, against: int, since: Sequence[Revision]) -> str:
        if against > self.revision:
            return f"revision {against} is not there yet: revision {self.revision} is in force; look with 'mrpc policy show'"
        told = "; ".join(f"revision {each.revision} by uid:{each.operator_uid} at {_clock(each.at_unix_s)} ({each.cause}): "
                         f"{', '.join(each.changes) or 'nothing'}" for each in since)
        return f"the chains have changed since revision {against}: {told}; look again with 'mrpc policy show', then repeat"

    async def _prepare(self, wanted: Layers, gate: Gate | None, before: list[Record] | None = None) -> Prepared:
        before = self.records() if before is None else before
        revision = self.store.next_revision() if changes(before, wanted.records()) else self.revision
        layers = wanted.numbered(before, revision)
        chains = layers.in_force()
        started = time.monotonic_ns()
        edges = edges_of(await asyncio.to_thread(self.schemas))
        bindings = await self._binder.bind(chains, edges, self.bindings)
        report: dict[str, Any] = {
            "revision": revision, "changes": changes(before, layers.records()), "compile_ns": time.monotonic_ns() - started,
            "programs": _programs(chains, bindings),
        }
        prepared = Prepared(layers, bindings, {edge.fingerprint for edge in edges}, report)
        if gate is not None:
            await self._dry_run(prepared, gate)
        return prepared

    async def _dry_run(self, prepared: Prepared, gate: Gate) -> None:
        natives = [chain.native() for chain in prepared.layers.in_force()]
        try:
            found = await asyncio.to_thread(self._dataplane.dry_run, natives, prepared.bindings)
        except ValueError as error:
            raise ConfigError(f"refused: {error}") from None
        prepared.report |= {"dry_run": found, "newly_denied": newly_denied(found), "forced": gate.force}
        share = newly_denied(found) / max(found["calls"], 1)
        if not gate.force and found["calls"] >= CALLS_MIN and share > gate.share_max:
            raise WouldDeny(
                f"{newly_denied(found)} of the last {found['calls']} calls would newly be denied ({share:.0%}; the limit is "
                f"{gate.share_max:.0%}){_examples(found)}; nothing has changed; --force applies it all the same", prepared.report
            )

    async def _switch(self, prepared: Prepared, cause: str, uid: int) -> dict[str, Any]:
        layers, report = prepared.layers, prepared.report
        row = self.store.begin(report["revision"], uid, cause, report["changes"], layers)
        self.reached("intent")
        started = time.monotonic_ns()
        try:
            natives = [chain.native() for chain in layers.in_force()]
            applied = await asyncio.to_thread(self._dataplane.apply_chains, natives, prepared.bindings)
        except (ValueError, RuntimeError) as error:
            self.store.fail(row, str(error))
            raise ConfigError(f"refused: {error}") from None
        self.reached("switched")
        report |= applied | {"switch_ns": time.monotonic_ns() - started, "chains": len(natives)}
        try:
            self.store.commit(row, report)
        except sqlite3.Error as error:  # a disk that filled since begin(): the row is found as abandoned
            self._take(prepared, cause, uid)
            raise Unwritten(f"revision {self.revision} is in force, but could not be written down ({error}): a restart brings back "
                            "the chains before; make room, then apply it again") from None
        self.reached("committed")
        self._take(prepared, cause, uid)
        return report

    def _take(self, prepared: Prepared, cause: str, uid: int) -> None:
        report = prepared.report
        self._binder.keep(prepared.bindings)
        self.stats.outcomes["committed"] += 1
        self.stats.pauses(shard["pause_ns"] for shard in report["shards"])
        self.layers, self.bindings, self.unfit = prepared.layers, prepared.bindings, {}
        self.revision, self.epoch = report["revision"], report["epoch"]
        log.info("%s by uid:%d: %d policy chains in force, revision %d, epoch %d, pause %.1f us; %s", cause, uid, report["chains"],
                 self.revision, self.epoch, report["pause_ns_max"] / 1e3, ", ".join(report["changes"]) or "no change")
        self.on_change()

    async def _new_on_offer(self, prepared: Prepared) -> bool:
        edges = edges_of(await asyncio.to_thread(self.schemas))
        return not {edge.fingerprint for edge in edges} <= prepared.fingerprints

    # ---- services that come on offer later

    async def provide(self, service: str, fingerprint: int) -> None:
        """Compile what the chains in force want for a schema that came on offer, or give it up, with the reason in the log."""
        async with self._changing:
            schemas = await asyncio.to_thread(self.schemas)
            edges = edges_of(found for found in schemas if (found["service"], found["fingerprint"]) == (service, fingerprint))
            try:
                await self._add(edges)
                self.unfit.pop((service, fingerprint), None)
            except (ConfigError, ValueError) as error:
                self.unfit[service, fingerprint] = str(error)
                log.error("calls of %s are refused where a policy that does not fit selects them: %s", service, error)
                await asyncio.to_thread(self._dataplane.give_up_bindings, service, fingerprint, str(error))

    async def _add(self, edges: Sequence[Edge]) -> None:
        found = await self._binder.bind(self.layers.in_force(), edges, self.bindings)
        bindings = [binding for binding in found if binding["service"]]  # those for every method are there
        await asyncio.to_thread(self._dataplane.add_bindings, bindings)
        self.bindings += bindings
        self._binder.keep(self.bindings)
        self.on_change()


def newly_denied(found: DryRun) -> int:
    return sum(policy["newly_denied"] for policy in found["policies"])


def _programs(chains: Sequence[Chain], bindings: Sequence[Binding]) -> list[dict[str, Any]]:
    """Each program in force, its source, and for how many methods it was compiled."""
    counts: dict[tuple[str, str], int] = {}
    for binding in bindings:
        counts[binding["chain"], binding["policy"]] = counts.get((binding["chain"], binding["policy"]), 0) + 1
    return [
        {"chain": chain.name, "policy": policy, "file": use.program.file, "sha256": use.program.source_sha256,
         "methods": counts.get((chain.name, policy), 0)}
        for chain in chains for policy, use in chain.programs() if use.program is not None
    ]


def _examples(found: DryRun) -> str:
    """Which policies would deny, with one call each."""
    told = []
    for policy in found["policies"]:
        if policy["newly_denied"]:
            example = next(iter(policy["examples"]), None)
            call = f", as {example['client']} -> {example['service']}/{example['method']}: {example['text']}" if example else ""
            told.append(f"{policy['chain']}/{policy['policy']} {policy['newly_denied']}{call}")
    return f" by {'; '.join(told)}" if told else ""


def _clock(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).astimezone().isoformat(sep=" ", timespec="seconds")
