"""What the compiler says of a compiled program, and the data plane needs to run it. Plain data: it crosses processes as JSON."""

from __future__ import annotations

from typing import Literal, TypedDict

ConfigType = Literal["int", "float", "bool", "text", "ints", "texts", "keys"]
"""`int` stands for durations too (nanoseconds). `keys` is a JWKS document as text; its slot is read by the host alone."""

CONFIG_BYTES: dict[str, int] = {"int": 8, "float": 8, "bool": 8, "text": 16, "ints": 16, "texts": 16, "keys": 16}

Scope = Literal["call", "client", "server", "service", "method", "tenant", "global"]
"""Or "metadata:KEY". A scope of state is a list of these; ["global"] is one row for all calls of the policy."""


class ConfigField(TypedDict):
    name: str
    type: ConfigType
    offset: int  # in the configuration block


class StateField(TypedDict):
    name: str
    type: Literal["int", "float", "bool"]
    initial: float | str  # a number, or the name of an int, float or bool field of the configuration


class StateScope(TypedDict):
    scope: list[str]
    fields: list[StateField]


class Store(TypedDict):
    name: str
    scope: list[str]  # replies are kept apart by it, and always by service and method


class Lease(TypedDict):
    name: str
    rate: str   # the configuration's field (float) with the budget a second of all daemons together
    burst: str  # likewise: the most that may be taken at once
    share: str  # likewise: this daemon's part of the rate (0 to 1) while the store cannot be reached


class Write(TypedDict):
    field: str  # "request.tier", "reply.price.amount"
    kind: Literal["int", "float", "text"]


class OldField(TypedDict):
    scope: list[str]
    name: str
    type: Literal["int", "float", "bool"]


class ProgramSpec(TypedDict):
    abi: int
    name: str        # the class's
    source: str      # the file's, as operators know it
    source_sha256: str
    object: str      # path of the shared object
    config_bytes: int
    config: list[ConfigField]
    state: list[StateScope]
    old: list[OldField]      # what upgrade() reads of the version before
    stores: list[Store]
    leases: list[Lease]
    hooks: list[Literal["request", "reply", "end", "upgrade"]]
    reads: list[str]         # "request.user.id", "reply.status", "metadata.authorization"
    writes: list[Write]      # indexes of host->set_field
    reads_bytes: bool        # content of `bytes` or repeated numeric fields: images must be whole
    needs_layout: bool       # false: the object fits every message
    on_fault: Literal["closed", "open"]
