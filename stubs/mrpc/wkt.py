"""Well-known types (google/protobuf/*.proto) as mrpc messages: wkt.Timestamp, wkt.Duration, wkt.Struct, wkt.Any...

They are made when they are first asked for, from the descriptors that google.protobuf ships, with its helper methods
(FromDatetime, Pack...). Generated code that imports such a file takes it from here.
"""

from __future__ import annotations

import importlib
from typing import Any as _AnyType

from mrpc._messages import ABI_LEVEL, File

_FILE_OF = {
    "Any": "any",
    "Api": "api",
    "BoolValue": "wrappers",
    "BytesValue": "wrappers",
    "DoubleValue": "wrappers",
    "Duration": "duration",
    "Empty": "empty",
    "FieldMask": "field_mask",
    "FloatValue": "wrappers",
    "Int32Value": "wrappers",
    "Int64Value": "wrappers",
    "ListValue": "struct",
    "NullValue": "struct",
    "NULL_VALUE": "struct",
    "StringValue": "wrappers",
    "Struct": "struct",
    "Timestamp": "timestamp",
    "UInt32Value": "wrappers",
    "UInt64Value": "wrappers",
    "Value": "struct",
}
_files: dict[str, File] = {}

__all__ = sorted(_FILE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def file(name: str) -> File:
    """The File of "google/protobuf/NAME.proto". Raises ImportError when google.protobuf has no such file."""
    if name not in _files:
        module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        descriptor = module.DESCRIPTOR
        dependencies = [file(dependency.name) for dependency in descriptor.dependencies]
        made = File(__name__, name, descriptor.serialized_pb, dependencies=dependencies, abi_level=ABI_LEVEL)
        for message in descriptor.message_types_by_name.values():
            globals()[message.name] = _make_message(made, message, None)
        for enum in descriptor.enum_types_by_name.values():
            globals()[enum.name] = made.enum(enum.full_name)
            globals().update(globals()[enum.name].items())
        _files[name] = made
    return _files[name]


def _make_message(made: File, descriptor: _AnyType, owner: _AnyType) -> _AnyType:
    cls = made.message(descriptor.full_name, owner)
    for nested in descriptor.nested_types:
        if not nested.GetOptions().map_entry:
            _make_message(made, nested, cls)
    for enum in descriptor.enum_types:
        made.enum(enum.full_name, cls)
    return cls


def __getattr__(name: str) -> _AnyType:
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file(f"google/protobuf/{_FILE_OF[name]}.proto")
    return globals()[name]
