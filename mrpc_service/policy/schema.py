"""Fields of messages, and where they stand in an image: a view of the dictionaries of dataplane_api.MessageLayouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mrpc_service.policy.errors import near_miss
from mrpc_service.policy.types import BOOL, FLOAT, INT, TEXT, Type

DOUBLE, FLOAT32, INT64, UINT64, INT32, FIXED64, FIXED32, BOOLEAN, STRING, _GROUP, MESSAGE, BYTES, UINT32, ENUM, SFIXED32, SFIXED64, SINT32, SINT64 = \
    range(1, 19)
SIGNED_32 = {INT32, SFIXED32, SINT32, ENUM}
UNSIGNED_32 = {UINT32, FIXED32}
SIGNED_64 = {INT64, SFIXED64, SINT64}
UNSIGNED_64 = {UINT64, FIXED64}


class SchemaProblem(Exception):
    def __init__(self, reason: str, hint: str):
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class FieldLayout:
    name: str
    number: int
    index: int
    offset: int
    kind: int  # FieldDescriptorProto.Type
    cardinality: str
    has_presence: bool
    oneof: int
    element_bytes: int
    message: str
    default: Any

    @property
    def value_type(self) -> Type:
        """Of a singular scalar, or of one element."""
        if self.kind in (DOUBLE, FLOAT32):
            return FLOAT
        if self.kind == BOOLEAN:
            return BOOL
        return TEXT if self.kind in (STRING, BYTES) else INT

    @property
    def is_blob(self) -> bool:
        """Whether its content may stand outside of the image's inline part."""
        return self.kind == BYTES or (self.cardinality == "repeated" and self.kind not in (STRING, MESSAGE, BOOLEAN, ENUM))


@dataclass(frozen=True)
class MessageLayout:
    full_name: str
    struct_bytes: int
    fields: dict[str, FieldLayout]

    def __hash__(self) -> int:
        return hash(self.full_name)

    def field(self, name: str) -> FieldLayout:
        if name not in self.fields:
            raise SchemaProblem(f"{self.full_name} has no field {name!r}", near_miss(name, self.fields, "it has"))
        return self.fields[name]


class Layout:
    """Of one root message and all that it reaches."""

    def __init__(self, given: Mapping[str, Any]):
        self.messages = {name: _message(name, each) for name, each in given["messages"].items()}
        self.root = self.messages[given["root"]]


def _message(name: str, given: Mapping[str, Any]) -> MessageLayout:
    return MessageLayout(name, given["struct_bytes"], {each: _field(each, layout) for each, layout in given["fields"].items()})


def _field(name: str, given: Mapping[str, Any]) -> FieldLayout:
    default = given["default"]
    if isinstance(default, str):  # crossed a process as JSON
        default = default.encode("latin-1")
    return FieldLayout(name, given["number"], given["index"], given["offset"], given["type"], given["cardinality"], given["has_presence"],
                       given["oneof"], given["element_bytes"], given["message"], default)
