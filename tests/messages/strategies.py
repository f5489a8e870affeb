"""Random messages: a plan says what to set, and build() does it to any class with protobuf's manners."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

F = FieldDescriptor
_SIGNED = {F.TYPE_INT32: 32, F.TYPE_SINT32: 32, F.TYPE_SFIXED32: 32, F.TYPE_INT64: 64, F.TYPE_SINT64: 64, F.TYPE_SFIXED64: 64}
_UNSIGNED = {F.TYPE_UINT32: 32, F.TYPE_FIXED32: 32, F.TYPE_UINT64: 64, F.TYPE_FIXED64: 64}

Plan = dict[str, Any]


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.type
    if kind in _SIGNED:
        bits = _SIGNED[kind] - 1
        return st.integers(-(2**bits), 2**bits - 1)
    if kind in _UNSIGNED:
        return st.integers(0, 2 ** _UNSIGNED[kind] - 1)
    return {
        F.TYPE_BOOL: st.booleans(),
        F.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
        F.TYPE_DOUBLE: st.floats(allow_nan=False),
        F.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        F.TYPE_BYTES: st.one_of(st.binary(max_size=20), st.integers(4000, 9000).map(lambda n: b"x" * n)),
        F.TYPE_ENUM: st.integers(-5, 5),
    }[kind]


@st.composite
def plans(draw: st.DrawFn, descriptor: Descriptor, depth: int = 2) -> Plan:
    """Plans for a message; none of them sets two fields of one oneof, so the order of fields does not matter."""
    possible = [
        field.name
        for field in descriptor.fields
        if (depth > 0 or field.type != F.TYPE_MESSAGE) and field.name != "anything"  # Any: see test_well_known.py
    ]
    plan: Plan = {}
    taken = set()
    for name in draw(st.lists(st.sampled_from(possible), max_size=8, unique=True)) if possible else []:
        field = descriptor.fields_by_name[name]
        oneof = field.containing_oneof
        if oneof is None or oneof.name not in taken:
            taken.add(oneof and oneof.name)
            plan[name] = draw(_field(field, depth))
    return plan


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.type != F.TYPE_MESSAGE:
        return st.lists(scalars(field), max_size=4) if field.is_repeated else scalars(field)
    message = field.message_type
    if message.GetOptions().map_entry:
        key, value = message.fields
        return st.dictionaries(scalars(key), _field(value, depth), max_size=4)
    inner = plans(message, depth - 1)
    return st.lists(inner, max_size=3) if field.is_repeated else inner


def build(message: Any, plan: Plan) -> Any:
    """Does to `message` what `plan` says, by the API that any protobuf message has."""
    descriptor = message.DESCRIPTOR
    for name, value in plan.items():
        field = descriptor.fields_by_name[name]
        target = getattr(message, name) if field.is_repeated or field.type == F.TYPE_MESSAGE else None
        if target is None:
            setattr(message, name, value)
        elif field.type == F.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            _build_map(target, field, value)
        elif not field.is_repeated:
            target.SetInParent()
            build(target, value)
        elif field.type == F.TYPE_MESSAGE:
            for each in value:
                build(target.add(), each)
        else:
            target.extend(value)
    return message


def _build_map(target: Any, field: FieldDescriptor, value: dict[Any, Any]) -> None:
    of_messages = field.message_type.fields_by_name["value"].type == F.TYPE_MESSAGE
    for key, each in value.items():
        if of_messages:
            build(target[key], each)
        else:
            target[key] = each
