"""Payloads: JSON objects, stored as the bytes of their text."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .. import paths
from .errors import Invalid
from .model import PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, Payload

EMPTY = b"{}"
KEY_MAX = 1024  # characters of a path
_NESTED = dict, list, tuple
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def pack(payload: Mapping[str, Any] | bytes | None) -> bytes:
    """The text of a payload. Invalid when it is no JSON object, over PAYLOAD_BYTES_MAX, or nested too deep."""
    if payload is None:
        return EMPTY
    try:
        value = _loads(payload) if isinstance(payload, bytes) else payload
        if not isinstance(value, (dict, Mapping)):
            raise Invalid(f"a payload is a JSON object, not {type(value).__name__}")
        _check_depth(value)
        text = _encode(value).encode()
    except Invalid:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise Invalid(f"a payload is a JSON object: {str(error)[:200]}") from None
    if len(text) > PAYLOAD_BYTES_MAX:
        raise Invalid(f"a payload has at most {PAYLOAD_BYTES_MAX} bytes of JSON, not {len(text)}")
    return text


def unpack(text: bytes) -> Payload:
    return json.loads(text)


def _loads(text: bytes) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(text, parse_constant=refuse)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(PAYLOAD_DEPTH_MAX):
        level = [child for node in level for child in (node if isinstance(node, list | tuple) else node.values()) if isinstance(child, _NESTED)]
        if not level:
            return
    raise Invalid(f"a payload is nested at most {PAYLOAD_DEPTH_MAX} deep")


def merged(old: Payload, fields: Payload, key: str = "") -> Payload:
    """With the fields set, in the object that the path `key` leads to or, without, at the top. A field that is null is taken away.
    Invalid when it is no path."""
    return paths.merged(old, steps(key) if key else (), fields)


def without(old: Payload, keys: Sequence[str]) -> Payload:
    """Without what is at the paths. Invalid for what is none."""
    for key in keys:
        old = paths.without(old, steps(key))
    return old


def steps(key: str) -> paths.Steps:
    """Of a path. Invalid for what is none, or longer than KEY_MAX."""
    if len(key) > KEY_MAX:
        raise Invalid(f"a path has at most {KEY_MAX} characters")
    try:
        return paths.parse(key)
    except ValueError as error:
        raise Invalid(str(error)) from None
