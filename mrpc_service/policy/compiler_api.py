"""What the control plane asks of the compiler of policy programs. `mrpc_service.policy.compiler.Compiler(cache: Path)` is the one
implementation; this is its documentation and its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mrpc_service.policy.spec import ProgramSpec


class PolicyError(Exception):
    """A program, or what is asked of it, is refused. As text: "FILE:LINE: reason; hint"."""

    def __init__(self, file: str, line: int, reason: str, hint: str = "") -> None:
        """`line` counts from 1; 0 where no line is to blame."""
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {reason}{f'; {hint}' if hint else ''}")
        self.file, self.line, self.reason, self.hint = file, line, reason, hint


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

    def check_config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All fields with their values, defaults filled in, as `Dataplane.apply_chains` takes them: durations in nanoseconds, lists sorted.

        ValueError with one line for each fault: unknown field (with the near miss), a required one left out, a wrong type."""


class Compiler(Protocol):
    def load(self, source: str, file: str) -> LoadedProgram:
        """Parse and check: subset, bounds, declarations. Quick, no process. PolicyError for the first fault."""

    async def compile(self, program: LoadedProgram, config: Mapping[str, Any], target: Target) -> ProgramSpec:
        """The native form for these messages, from the cache or from a worker that is killed when it takes too long. PolicyError.

        `config` as of check_config. Where the spec says `needs_layout: False`, the object fits every method."""

    def interpret(self, program: LoadedProgram, config: Mapping[str, Any]) -> Any:
        """An instance of the policy's class that runs as Python: the oracle that `mrpc policy test` uses."""

    async def close(self) -> None:
        """End the workers."""
