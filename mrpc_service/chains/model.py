"""Chains that were read and checked, and the two layers of which those in force are made.

The *config* layer is what `--config` names; a reload replaces it as a whole. The *applied* layer is what operators apply over the
control API; it is kept in the store and comes back after a restart. A name belongs to the layer that had it first: applying a chain
that a file defines is refused, but with `--adopt`, after which the applied one stands in the file's place until it is deleted.

Chains run in this order: those of files, by file and document (an adopted one in its file's place); then applied ones, by the order
in which they were first applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mrpc_service.documents import PolicyChain
from mrpc_service.policy.compiler_api import LoadedProgram

ANY = "*"
Record = dict[str, Any]  # a chain as it is kept: name, layer, source, changed_in, document, programs


@dataclass(frozen=True)
class PolicyUse:
    """What one policy of a chain runs: a native engine, or a program. `config` is checked and complete."""

    program: LoadedProgram | None
    config: dict[str, Any]
    use: str  # as the data plane and its counters call it


@dataclass(frozen=True)
class Chain:
    document: PolicyChain
    source: str  # file and document, as operators know them
    uses: tuple[PolicyUse, ...]  # of each policy
    changed_in: int = 0          # the revision that made it what it is

    @property
    def name(self) -> str:
        return self.document.metadata.name

    def selects(self, service: str, method: str) -> bool:
        selector = self.document.spec.selector
        return selector.service in ("", ANY, service) and selector.method in ("", ANY, method)

    def programs(self) -> list[tuple[str, PolicyUse]]:
        """Name and use of each policy that is a program."""
        named = zip(self.document.spec.policies, self.uses, strict=True)
        return [(policy.name, use) for policy, use in named if use.program is not None]

    def native(self) -> dict[str, Any]:
        """As `Dataplane.apply_chains` takes it."""
        spec = self.document.spec
        named = zip(spec.policies, self.uses, strict=True)
        return {
            "name": self.name, "client": spec.selector.client or ANY, "service": spec.selector.service or ANY,
            "method": spec.selector.method or ANY, "side": spec.side, "judged_by": spec.judged_by,
            "policies": [{"name": policy.name, "use": use.use, "config": use.config} for policy, use in named],
        }

    def sources(self) -> dict[str, str]:
        """`use` -> SHA-256 of the program's source."""
        named = zip(self.document.spec.policies, self.uses, strict=True)
        return {policy.use: use.program.source_sha256 for policy, use in named if use.program is not None}


    def record(self, layer: str) -> Record:
        """As it is kept in the store: the document as applied, and programs by SHA-256."""
        document = self.document.model_dump(mode="json", exclude={"metadata": {"revision"}})
        if not document["spec"]["judged_by"]:
            del document["spec"]["judged_by"]  # as daemons before v0.3 keep it, and read it again
        return {"name": self.name, "layer": layer, "source": self.source, "changed_in": self.changed_in, "document": document,
                "programs": self.sources()}


@dataclass(frozen=True)
class Layers:
    config: tuple[Chain, ...] = ()
    applied: tuple[Chain, ...] = ()

    def in_force(self) -> list[Chain]:
        """In the order in which they judge."""
        applied = {chain.name: chain for chain in self.applied}
        first = [applied.pop(chain.name, chain) for chain in self.config]
        return [*first, *applied.values()]

    def records(self) -> list[Record]:
        applied = {chain.name for chain in self.applied}
        return [chain.record("applied" if chain.name in applied else "config") for chain in self.in_force()]

    def with_applied(self, chains: Iterable[Chain], removed: Iterable[str] = ()) -> Layers:
        """With these put into the applied layer, each in the place of one of the same name; and without `removed`."""
        merged = {chain.name: chain for chain in self.applied}
        merged |= {chain.name: chain for chain in chains}
        gone = set(removed)
        return replace(self, applied=tuple(chain for name, chain in merged.items() if name not in gone))

    def numbered(self, before: Sequence[Record], revision: int) -> Layers:
        """With `changed_in` of each chain: `revision` where it differs from what was in force before."""
        old = {record["name"]: record for record in before}

        def number(chain: Chain) -> Chain:
            was = old.get(chain.name)
            same = was is not None and _runs_as(was, chain.record(""))
            return replace(chain, changed_in=was["changed_in"] if was and same else revision)

        return Layers(tuple(map(number, self.config)), tuple(map(number, self.applied)))


def changes(before: Sequence[Record], after: Sequence[Record]) -> list[str]:
    """What differs: "+NAME", "-NAME", "~NAME", in order of name; and "order" if only that does."""
    old = {record["name"]: record for record in before}
    new = {record["name"]: record for record in after}
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            found.append(("+" if name in new else "-") + name)
        elif not _runs_as(old[name], new[name]):
            found.append("~" + name)
    return found or (["order"] if list(old) != list(new) else [])


def _runs_as(one: Record, other: Record) -> bool:
    """Whether two chains of one name judge alike, wherever they were written."""
    return one["document"]["spec"] == other["document"]["spec"] and one["programs"] == other["programs"]
