"""Compiling programs for the methods that chains select, and telling what does not fit where."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mrpc_service.chains.model import Chain, PolicyUse
from mrpc_service.dataplane_api import Binding
from mrpc_service.errors import ConfigError
from mrpc_service.policy.compiler_api import Compiler, PolicyError, Target
from mrpc_service.policy.spec import ProgramSpec


@dataclass(frozen=True)
class Edge:
    """A method of one schema of a service on offer."""

    target: Target | None  # None: every method
    fingerprint: int

    def selected_by(self, chain: Chain) -> bool:
        return self.target is None or chain.selects(self.target.service, self.target.method)

    def __str__(self) -> str:
        return f", on {self.target.service}/{self.target.method}" if self.target else ""


ALL = Edge(None, 0)


def edges_of(schemas: Iterable[dict[str, Any]]) -> list[Edge]:
    """All methods on offer, of `Dataplane.schemas`."""
    return [
        Edge(Target(found["service"], method, found["schema"]), found["fingerprint"])
        for found in schemas for method in found["methods"]
    ]


class Binder:
    """Makes bindings. The same program is compiled once for each method, however many chains put it there."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler

    async def bind(self, chains: Sequence[Chain], edges: Sequence[Edge], before: Sequence[Binding]) -> list[Binding]:
        """Bindings of every program of `chains` for every one of `edges` that its chain selects; `before` are those in force.

        ConfigError, with one line for each policy and edge that do not fit."""
        wanted = [(chain, name, use) for chain in chains for name, use in chain.programs()]
        selected = [[edge for edge in edges if edge.selected_by(chain)] for chain, _, _ in wanted]
        previous = {(binding["chain"], binding["policy"]): binding["spec"] for binding in before}
        found = await asyncio.gather(
            *(self._bind_policy(chain, name, use, mine, previous.get((chain.name, name)))
              for (chain, name, use), mine in zip(wanted, selected, strict=True))
        )
        faults = [fault for _, faults in found for fault in faults]
        if faults:
            raise ConfigError("\n".join(faults))
        return [binding for bindings, _ in found for binding in bindings]

    def keep(self, bindings: Sequence[Binding]) -> None:
        """These are in force; objects of others may go."""
        self._compiler.forget_unused({binding["spec"]["object"] for binding in bindings})

    async def _bind_policy(
        self, chain: Chain, policy: str, use: PolicyUse, edges: Sequence[Edge], previous: ProgramSpec | None
    ) -> tuple[list[Binding], list[str]]:
        """Bindings, and faults. A program that reads no message is compiled once, and fits all methods."""
        assert use.program is not None, "native engines are not compiled"
        if previous is not None and previous["source_sha256"] == use.program.source_sha256:
            previous = None  # nothing to upgrade from
        bindings: list[Binding] = []
        faults: list[str] = []
        for edge in edges if use.program.needs_layout else [ALL]:
            try:
                spec = await self._compiler.compile(use.program, use.config, edge.target, previous)
            except PolicyError as error:
                faults += [f"chain {chain.name!r}, policy {policy!r}{edge}: {line}" for line in str(error).splitlines()]
                continue
            service, method = (edge.target.service, edge.target.method) if edge.target else ("", "")
            bindings.append(Binding(chain=chain.name, policy=policy, service=service, method=method,
                                    fingerprint=edge.fingerprint, spec=spec))
        return bindings, faults
