"""Payloads: JSON objects, stored as the bytes of their text. Values at paths, and the predicate of a filter by scan."""
from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import filters
from .errors import Invalid
from .model import PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, Payload

EMPTY = b"{}"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def pack(payload: Mapping[str, Any] | bytes | None) -> bytes:
    """The text of a payload. Invalid when it is no JSON object, over PAYLOAD_BYTES_MAX, or nested too deep."""
    if payload is None:
        return EMPTY
    try:
        value = _loads(payload) if isinstance(payload, bytes) else payload
        if not isinstance(value, Mapping):
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
        level = [child for node in level if isinstance(node, dict | list | tuple)
                 for child in (node.values() if isinstance(node, dict) else node) if isinstance(child, dict | list | tuple)]
        if not level:
            return
    raise Invalid(f"a payload is nested at most {PAYLOAD_DEPTH_MAX} deep")


def at(payload: Any, path: str) -> Iterator[Any]:
    """What is at the path; nothing when it is missing. An array stays one value unless the path says `[]`."""
    step, _, rest = path.partition(".")
    each = step.endswith("[]")
    if not isinstance(payload, dict) or (name := step[:-2] if each else step) not in payload:
        return
    found = payload[name]
    for value in (found if isinstance(found, list) else ()) if each else (found,):
        if rest:
            yield from at(value, rest)
        else:
            yield value


def scalars(payload: Payload, path: str) -> Iterator[Any]:
    """The values that conditions on the path look at: arrays at its end as their elements, no nulls, no objects."""
    for value in at(payload, path):
        for scalar in value if isinstance(value, list) else (value,):
            if scalar is not None and not isinstance(scalar, dict | list):
                yield scalar


def token(value: Any) -> Any:
    """What equality of scalars compares: true is not 1."""
    return (value,) if isinstance(value, bool) else value


def number(value: Any) -> float | None:
    """What ranges compare, None for what is no number. An integer beyond every float is infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_empty(payload: Payload, path: str) -> bool:
    return all(value is None or value == [] for value in at(payload, path))


def is_null(payload: Payload, path: str) -> bool:
    return any(value is None for value in at(payload, path))


def in_range(bounds: filters.Range, value: float) -> bool:
    return ((bounds.gt is None or value > bounds.gt) and (bounds.gte is None or value >= bounds.gte)
            and (bounds.lt is None or value < bounds.lt) and (bounds.lte is None or value <= bounds.lte))


Test = Callable[[int, Payload], bool]


def compile_test(wanted: filters.Filter, has_id: Callable[[filters.HasId], set[int]]) -> Test:
    """The filter as a function of (row, payload). has_id gives the rows that a HasId names."""
    must, should, must_not = ([_condition(part, has_id) for part in parts] for parts in (wanted.must, wanted.should, wanted.must_not))

    def test(row: int, payload: Payload) -> bool:
        return (all(part(row, payload) for part in must) and not any(part(row, payload) for part in must_not)
                and (not should or any(part(row, payload) for part in should)))

    return test


def _condition(condition: filters.Condition, has_id: Callable[[filters.HasId], set[int]]) -> Test:
    match condition:
        case filters.Filter():
            return compile_test(condition, has_id)
        case filters.HasId():
            rows = has_id(condition)
            return lambda row, payload: row in rows
        case filters.IsEmpty(is_empty=where):
            return lambda row, payload: is_empty(payload, where.key)
        case filters.IsNull(is_null=where):
            return lambda row, payload: is_null(payload, where.key)
        case filters.Field_(key=path, match=None, range=bounds):
            return lambda row, payload: any((n := number(value)) is not None and in_range(bounds, n) for value in scalars(payload, path))
        case filters.Field_(key=path, match=match):
            accepts = acceptor(match)
            return lambda row, payload: any(accepts(token(value)) for value in scalars(payload, path))
    raise AssertionError(condition)


def acceptor(match: filters.Match) -> Callable[[Any], bool]:
    """Whether a token matches."""
    if match.text is not None:
        return lambda value: isinstance(value, str) and match.text in value
    if match.except_ is not None:
        refused = {token(value) for value in match.except_}
        return lambda value: value not in refused
    wanted = {token(value) for value in ([match.value] if match.any is None else match.any)}
    return lambda value: value in wanted
