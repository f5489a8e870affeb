"""Layouts and images by the rules of native/message/layout.h, written once more in Python from google.protobuf's descriptors."""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf import message_factory

PACK = {1: "d", 2: "f", 3: "q", 4: "Q", 5: "i", 6: "Q", 7: "I", 8: "?", 13: "I", 14: "i", 15: "i", 16: "q", 17: "i", 18: "q"}


def is_map(field: Any) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def is_repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def real_oneof(field: Any) -> int:
    oneof = field.containing_oneof
    synthetic = oneof is not None and len(oneof.fields) == 1 and oneof.name == f"_{field.name}"
    return -1 if oneof is None or synthetic else oneof.index


def message_layout(root: Any) -> dict[str, Any]:
    """What `_dataplane.message_layout` tells of it."""
    messages: dict[str, Any] = {}
    open_ = [root]
    while open_:
        descriptor = open_.pop()
        if descriptor.full_name not in messages:
            messages[descriptor.full_name] = _struct(descriptor)
            open_.extend(field.message_type for field in descriptor.fields if field.message_type is not None)
    return {"root": root.full_name, "messages": messages}


def _struct(descriptor: Any) -> dict[str, Any]:
    fields = sorted(descriptor.fields, key=lambda each: each.number)
    at = 8 + 8 * ((len(fields) + 63) // 64)
    offsets = {}
    for size in (8, 4, 1):
        for field in fields:
            if _inline_bytes(field) == size:
                offsets[field.name] = at
                at += size
    out = {}
    for index, field in enumerate(fields):
        repeated_message = is_repeated(field) and field.message_type is not None
        element = _struct(field.message_type)["struct_bytes"] if repeated_message else _scalar_bytes(field)
        out[field.name] = {
            "number": field.number, "index": index, "offset": offsets[field.name], "type": field.type,
            "cardinality": "map" if is_map(field) else "repeated" if is_repeated(field) else "singular",
            "has_presence": field.has_presence and not is_repeated(field), "oneof": real_oneof(field), "element_bytes": element,
            "message": field.message_type.full_name if field.message_type else "",
            "enum": {each.name: each.number for each in field.enum_type.values} if field.enum_type else None, "default": _default(field),
        }
    return {"struct_bytes": (at + 7) // 8 * 8, "fields": out}


def _default(field: Any) -> Any:
    if field.type in (9, 12):
        return b""
    return 0.0 if field.type in (1, 2) else 0


def _scalar_bytes(field: Any) -> int:
    return struct.calcsize("<" + PACK[field.type]) if field.type in PACK else 8


def _inline_bytes(field: Any) -> int:
    return 8 if is_repeated(field) else _scalar_bytes(field)


def encode(message: Any) -> bytes:
    """Its canonical image."""
    image = bytearray()
    layouts = message_layout(message.DESCRIPTOR)["messages"]

    def append(size: int) -> int:
        image.extend(bytes(-len(image) % 8))
        image.extend(bytes(size))
        return len(image) - size

    def content(data: bytes) -> tuple[int, int]:
        if not data:
            return 0, 0
        at = append(len(data))
        image[at:] = data
        return at, len(data)

    def fill(at: int, value: Any) -> None:
        layout = layouts[value.DESCRIPTOR.full_name]["fields"]
        entry = value.DESCRIPTOR.GetOptions().map_entry
        for field in sorted(value.DESCRIPTOR.fields, key=lambda each: each.number):
            place = layout[field.name]
            where, item = at + place["offset"], getattr(value, field.name)
            if place["has_presence"] and not entry:
                if not value.HasField(field.name):
                    continue
                image[at + 8 + place["index"] // 8] |= 1 << place["index"] % 8
            if is_map(field):
                cls = message_factory.GetMessageClass(field.message_type)
                item = [cls(key=key, value=item[key]) for key in sorted(item, key=lambda each: each.encode())]
            if is_repeated(field):
                struct.pack_into("<II", image, where, *elements(field, place, item))
            elif field.message_type is not None:
                start = append(layouts[field.message_type.full_name]["struct_bytes"])
                struct.pack_into("<II", image, where, start, layouts[field.message_type.full_name]["struct_bytes"])
                fill(start, item)
            elif field.type in (9, 12):
                struct.pack_into("<II", image, where, *content(item.encode() if field.type == 9 else item))
            else:
                struct.pack_into("<" + PACK[field.type], image, where, item)

    def elements(field: Any, place: dict[str, Any], items: Any) -> tuple[int, int]:
        if not len(items):
            return 0, 0
        start, size = append(len(items) * place["element_bytes"]), place["element_bytes"]
        for index, item in enumerate(items):
            if field.message_type is not None:
                fill(start + index * size, item)
            elif field.type in (9, 12):
                struct.pack_into("<II", image, start + index * size, *content(item.encode() if field.type == 9 else item))
            else:
                struct.pack_into("<" + PACK[field.type], image, start + index * size, item)
        return start, len(items)

    fill(append(layouts[message.DESCRIPTOR.full_name]["struct_bytes"]), message)
    return bytes(image)
