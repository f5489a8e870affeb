"""The interpreted form: the same class, run by CPython against messages of google.protobuf, by the language's rules.

For `mrpc policy test`, for authors' unit tests, and as what the compiled form is compared with. It shares the checks of declarations with the
compiler, and nothing of what comes after.

    limit = Interpreter(source.read(Path("policies/rate_limit.py")), {"requests_per_second": 10.0}, host)
    limit.run("request", call, request)  # ("forward",), ("deny", 8, b"..."), ("delay", ns), ("route", hash, app), ("fault", "division", 12)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from mrpc_service.policy.declare import Declarations, declare
from mrpc_service.policy.instrument import MACHINE, instrument
from mrpc_service.policy.language import Token, Verdict, to_bytes
from mrpc_service.policy.machine import Fault, Machine, Self
from mrpc_service.policy.source import Source
from mrpc_service.policy.values import check_config

ANSWERS = {1: ("reply",), 2: ("forward",), 3: ("hold",)}
TEXT_MAX = 256


class Host(Protocol):
    """What a program asks of the daemon; bytes as they are on the wire."""

    def metadata(self, key: bytes) -> bytes | None: ...

    def set_metadata(self, key: bytes, value: bytes) -> bool:
        """True when it is refused."""

    def set_field(self, path: str, value: bytes | float | int) -> bool:
        """True when it is refused."""

    def random(self) -> int:
        """64 bits."""

    def log(self, text: bytes) -> None: ...

    def answer(self, store: int, key: bytes) -> int:
        """1: a stored reply, 2: this call fetches it, 3: another does."""

    def store(self, store: int, ttl_ns: int, bytes_max: int) -> None: ...

    def take(self, lease: int, want: float) -> bool: ...

    def token(self, text: bytes, audience: bytes, issuer: bytes, leeway_ns: int) -> Token: ...


class Interpreter:
    """One policy of one chain, with its state. `config` as in a chain's document. PolicyError, ValueError."""

    def __init__(self, source: Source, config: Mapping[str, Any], host: Host):
        self.declared: Declarations = declare(source)
        self.config = check_config(self.declared.config, config)
        self.host = host
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        names: dict[str, Any] = {"__builtins__": {"__build_class__": __build_class__, "range": range}, "__name__": "policy",
                                 "math": math, **self.declared.constants}
        names["math"] = math
        self._names = names
        exec(compile(instrument(source), source.name, "exec"), names)
        self._class = names[self.declared.name]

    def run(self, hook: str, call: Mapping[str, Any], message: Any = None) -> tuple[Any, ...]:
        """`hook`: request, reply, end. `call`: mrpc_call's fields (abi.h), texts as str; `id` tells calls apart."""
        machine = Machine(self, call)
        self._names[MACHINE] = machine
        node = self.declared.hooks[hook]
        policy = self._class()
        machine.policy = policy
        try:
            arguments = [machine.call] + ([machine.message(message, hook)] if hook in ("request", "reply") else [])
            return self._outcome(machine, getattr(self._class, node.name)(Self(policy), *arguments))
        except Fault as fault:
            return ("fault", fault.kind, fault.line)

    def upgrade(self, call: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[Any, ...]:
        """`upgrade(old)` on the rows of `call`."""
        machine = Machine(self, call)
        self._names[MACHINE] = machine
        machine.policy = self._class()
        try:
            self._class.upgrade(Self(machine.policy), machine.old(old))
        except Fault as fault:
            return ("fault", fault.kind, fault.line)
        return ("forward",)

    @property
    def state(self) -> dict[str, Any]:
        """Of all rows, when each scope has one."""
        return {name: value for row in self.rows.values() for name, value in row.items()}

    def row(self, per: tuple[str, ...], call: Mapping[str, Any]) -> dict[str, Any]:
        """The row of that scope that this call belongs to."""
        key = (per, *(self._scope_value(each, call) for each in per))
        if key not in self.rows:
            cells = [each for each in self.declared.state.values() if self.scope(each.per) == per]
            self.rows[key] = {each.name: self._initial(each.initial, each.type) for each in cells}
        return self.rows[key]

    def scope(self, per: tuple[str, ...] | str) -> tuple[str, ...]:
        return tuple(self.config[per]) if isinstance(per, str) else per

    def _scope_value(self, scope: str, call: Mapping[str, Any]) -> Any:
        if scope.startswith("metadata:"):
            return self.host.metadata(scope.partition(":")[2].encode())
        return None if scope == "global" else call.get("id", 0) if scope == "call" else call[scope]

    def _initial(self, initial: float | str, kind: str) -> Any:
        value = self.config[initial] if isinstance(initial, str) else initial
        return {"int": int, "float": float, "bool": bool}[kind](value)

    @staticmethod
    def _outcome(machine: Machine, verdict: Verdict | None) -> tuple[Any, ...]:
        if verdict is None or verdict.kind == "forward":
            return ("forward",)
        if verdict.kind == "answer":
            return ANSWERS[verdict.code]
        if verdict.kind == "deny":
            return ("deny", verdict.code, cut(to_bytes(verdict.text)))
        return ("delay", verdict.value) if verdict.kind == "delay" else ("route", verdict.value, to_bytes(verdict.text))


def cut(text: bytes) -> bytes:
    """A denial's text: at most 256 bytes, cut before a character."""
    n = len(text)
    if n > TEXT_MAX:
        n = TEXT_MAX
        while n > TEXT_MAX - 4 and text[n] & 0xC0 == 0x80:
            n -= 1
    return text[:n]


