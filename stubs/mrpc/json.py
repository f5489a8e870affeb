"""Messages to and from protobuf's JSON, by google.protobuf's own rules."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import json_format

from mrpc._messages import Message
from mrpc._messages_google import google_class, to_google

M = TypeVar("M", bound=Message)


def to_json(message: Message, **options: Any) -> str:
    """`message` as JSON text. `options` are those of google.protobuf.json_format.MessageToJson."""
    options.setdefault("descriptor_pool", message.DESCRIPTOR.file.pool)
    text: str = json_format.MessageToJson(to_google(message), **options)
    return text


def to_dict(message: Message, **options: Any) -> dict[str, Any]:
    """`message` as what JSON text would parse to. `options` are those of google.protobuf.json_format.MessageToDict."""
    options.setdefault("descriptor_pool", message.DESCRIPTOR.file.pool)
    value: dict[str, Any] = json_format.MessageToDict(to_google(message), **options)
    return value


def from_json(cls: type[M], text: str | bytes, **options: Any) -> M:
    """A `cls` of JSON text. `options` are those of google.protobuf.json_format.Parse.

    Raises google.protobuf.json_format.ParseError.
    """
    options.setdefault("descriptor_pool", cls.DESCRIPTOR.file.pool)
    parsed = json_format.Parse(text, google_class(cls)(), **options)
    return cls.FromString(parsed.SerializeToString())


def from_dict(cls: type[M], value: dict[str, Any], **options: Any) -> M:
    """A `cls` of a dict as JSON text would parse to. Raises google.protobuf.json_format.ParseError."""
    options.setdefault("descriptor_pool", cls.DESCRIPTOR.file.pool)
    parsed = json_format.ParseDict(value, google_class(cls)(), **options)
    return cls.FromString(parsed.SerializeToString())
