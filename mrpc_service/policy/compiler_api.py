"""What the control plane asks of the compiler of policy programs. `mrpc_service.policy.compiler.Compiler(cache: Path)` is the one
implementation; this is its documentation and its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.spec import ProgramSpec

__all__ = ["Compiler", "LoadedProgram", "PolicyError", "Target"]


@dataclass(frozen=True)
class Target:
    """The method whose messages a program is compiled for."""

    service: str   # full name
    method: str
    schema: bytes  # serialised FileDescriptorSet, dependencies first


class LoadedProgram(Protocol):
    """A file that was parsed and found to be a policy, without a schema yet."""

    name: str           # the class's
    file: str           # as operators know it
    source: str
    source_sha256: str
    summary: str        # first line of the docstring
    config_fields: Mapping[str, str]  # name -> annotation as written: "Duration", "list[str]", "Scope"
    live_fields: frozenset[str]       # those whose change needs no recompiling
    needs_layout: bool  # False: compiled once, without a target, it fits every method

    def check_config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All fields with their values, defaults filled in, as `Dataplane.apply_chains` takes them: durations in nanoseconds, lists sorted.

        ValueError with one line for each fault: unknown field (with the near miss), a required one left out, a wrong type."""


class Compiler(Protocol):
    async def load(self, source: str, file: str) -> LoadedProgram:
        """Parse and check, in the worker: sources are hostile. PolicyError, with a line for each fault."""

    async def compile(
        self, program: LoadedProgram, config: Mapping[str, Any], target: Target | None, previous: ProgramSpec | None = None
    ) -> ProgramSpec:
        """The native form for these messages, from the cache or from a worker that is killed when it takes too long. PolicyError.

        `config` as of check_config. `previous`: what ran until now under this chain and policy, for `upgrade(old)`. Where the spec
        says `needs_layout: False`, the object fits every method."""

    def forget_unused(self, in_use: set[str]) -> None:
        """Objects (paths of specs) that are not in `in_use` may be removed when there are too many. To be said after each apply."""

    async def close(self) -> None:
        """End the workers."""
