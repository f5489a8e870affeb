"""What conditions say of a payload: of the values at a path, and, for a filter by scan, of the whole.

columns.py answers the same from columns; both ask the functions here what a single value means.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import paths
from . import filters, geo, times
from .model import Payload

OTHER = object()
"""The token of objects and arrays, which equal nothing."""
_WORD = re.compile(r"[^\W_]+")


def scalars(found: list[Any]) -> Iterator[Any]:
    """Of what is at a path, the values that most conditions look at: arrays as their elements, no nulls."""
    for value in found:
        for scalar in value if isinstance(value, list) else (value,):
            if scalar is not None:
                yield scalar


def token(value: Any) -> Any:
    """What equality compares: true is not 1."""
    if isinstance(value, dict | list):
        return OTHER
    return (value,) if isinstance(value, bool) else value


def number(value: Any) -> float | None:
    """What ranges compare, None for what is no number. An integer beyond every float is infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def time(value: Any) -> int | None:
    """What ranges of times compare; None for what is none."""
    return times.parse(value) if isinstance(value, str) else None


def words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def is_empty(found: list[Any]) -> bool:
    return all(value is None or value == [] for value in found)


def is_null(found: list[Any]) -> bool:
    return any(value is None or (isinstance(value, list) and None in value) for value in found)


def counts(found: list[Any]) -> list[int]:
    """How many elements each of the values has."""
    return [0 if value is None else len(value) if isinstance(value, list) else 1 for value in found] or [0]


def objects(found: list[Any]) -> Iterator[Payload]:
    """What a nested filter looks at: the objects in the arrays at its path."""
    for value in found:
        yield from (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def in_range(bounds: Any, value: float) -> bool:
    return ((bounds.gt is None or value > bounds.gt) and (bounds.gte is None or value >= bounds.gte)
            and (bounds.lt is None or value < bounds.lt) and (bounds.lte is None or value <= bounds.lte))


def acceptor(match: filters.Match) -> Callable[[Any], bool]:
    """Whether a token matches."""
    if match.except_ is not None:
        refused = {token(value) for value in match.except_}
        return lambda value: value not in refused
    if match.value is not None or match.any is not None:
        wanted = {token(value) for value in (match.any if match.any is not None else [match.value])}
        return lambda value: value in wanted
    accepts = _text_acceptor(match)
    return lambda value: isinstance(value, str) and accepts(value)


def _text_acceptor(match: filters.Match) -> Callable[[str], bool]:
    if match.prefix is not None:
        return lambda value: value.startswith(match.prefix)
    if match.substring is not None:
        return lambda value: match.substring in value
    if match.text_any is not None:
        some = set(words(match.text_any))
        return lambda value: not some.isdisjoint(words(value))
    if match.text is not None:
        every = set(words(match.text))
        return lambda value: bool(every) and every.issubset(words(value))
    phrase = words(match.phrase or "")
    return lambda value: bool(phrase) and _follow(words(value), phrase)


def _follow(text: list[str], phrase: list[str]) -> bool:
    return any(text[at:at + len(phrase)] == phrase for at in range(len(text) - len(phrase) + 1))


PayloadTest = Callable[[Payload], bool]
Test = Callable[[int, Payload], bool]


def compile_test(wanted: filters.Filter, has_id: Callable[[filters.HasId], set[int]]) -> Test:
    """The filter as a function of (row, payload). has_id gives the rows that a HasId names."""
    must, should, must_not = ([_condition(part, has_id) for part in parts] for parts in (wanted.must, wanted.should, wanted.must_not))
    some = [_condition(part, has_id) for part in wanted.min_should.conditions] if wanted.min_should else []
    least = wanted.min_should.min_count if wanted.min_should else 0

    def test(row: int, payload: Payload) -> bool:
        return (all(part(row, payload) for part in must) and not any(part(row, payload) for part in must_not)
                and (not should or any(part(row, payload) for part in should))
                and (not least or sum(part(row, payload) for part in some) >= least))

    return test


def _condition(condition: filters.Condition, has_id: Callable[[filters.HasId], set[int]]) -> Test:
    if isinstance(condition, filters.Filter):
        return compile_test(condition, has_id)
    if isinstance(condition, filters.HasId):
        rows = has_id(condition)
        return lambda row, payload: row in rows
    test = _nested(condition.nested) if isinstance(condition, filters.NestedCondition) else _field(condition)
    return lambda row, payload: test(payload)


def _nested(nested: filters.Nested) -> PayloadTest:
    steps, test = paths.parse(nested.array), compile_test(nested.filter, lambda condition: set())
    return lambda payload: any(test(0, each) for each in objects(paths.at(payload, steps)))


def _field(condition: filters.Field_) -> PayloadTest:
    steps, test = paths.parse(condition.key), _values_test(condition)
    return lambda payload: test(paths.at(payload, steps))


def _values_test(condition: filters.Field_) -> Callable[[list[Any]], bool]:
    """Of what is at the condition's key."""
    if condition.is_empty is not None:
        return lambda found: is_empty(found) is condition.is_empty
    if condition.is_null is not None:
        return lambda found: is_null(found) is condition.is_null
    if (bounds := condition.values_count) is not None:
        return lambda found: any(in_range(bounds, count) for count in counts(found))
    if condition.match is not None:
        accepts = acceptor(condition.match)
        return lambda found: any(accepts(token(value)) for value in scalars(found))
    if (limits := condition.range) is not None:
        read: Callable[[Any], float | None] = time if isinstance(limits, filters.DatetimeRange) else number
        return lambda found: any((n := read(value)) is not None and in_range(limits, n) for value in scalars(found))
    inside = geo.inside(condition)

    def somewhere_inside(found: list[Any]) -> bool:
        places = [at for value in scalars(found) if (at := geo.place(value))]
        return bool(places) and bool(inside(*np.array(places, np.float64).T).any())

    return somewhere_inside
