"""From a Filter to its message. Models are told by their class's name: qdrant_client's own have the same names and attributes."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

_BOUNDS = ("gt", "gte", "lt", "lte")
_FIELDS = ("match", "range", "geo_radius", "geo_bounding_box", "geo_polygon", "values_count", "is_empty", "is_null")
"""What a FieldCondition may have, one of them."""
_MATCHES = {"MatchText": "text", "MatchTextAny": "text_any", "MatchPhrase": "phrase", "MatchPrefix": "prefix", "MatchSubstring": "substring"}
"""Those that are one text."""


class Filters:
    """pb: the generated messages."""

    def __init__(self, pb: Any) -> None:
        self._pb = pb
        self._conditions = {
            "Filter": lambda given: {"filter": self.message(given)},
            "FieldCondition": self._field,
            "IsEmptyCondition": lambda given: {"key": given.is_empty.key, "is_empty": True},
            "IsNullCondition": lambda given: {"key": given.is_null.key, "is_null": True},
            "HasIdCondition": lambda given: {"has_id": self._ids(given.has_id)},
            "NestedCondition": lambda given: {"key": given.nested.key, "nested": self.message(given.nested.filter)}}
        self._tests: dict[str, Callable[[Any], Any]] = {
            "match": self._match, "range": self._range, "is_empty": bool, "is_null": bool,
            "geo_radius": lambda given: pb.GeoRadius(center=self._point(given.center), radius=given.radius),
            "geo_bounding_box": lambda given: pb.GeoBoundingBox(top_left=self._point(given.top_left), bottom_right=self._point(given.bottom_right)),
            "geo_polygon": lambda given: pb.GeoPolygon(exterior=self._ring(given.exterior), interiors=list(map(self._ring, given.interiors or ()))),
            "values_count": lambda given: pb.ValuesCount(**_bounds(given))}

    def message(self, given: Any) -> Any:
        """A Filter message; None for None. TypeError for a condition that this service does not know."""
        if given is None:
            return None
        parts: dict[str, Any] = {name: self._list(getattr(given, name)) for name in ("must", "should", "must_not")}
        if (some := given.min_should) is not None:
            parts["min_should"] = self._pb.MinShould(conditions=self._list(some.conditions), min_count=some.min_count)
        return self._pb.Filter(**parts)

    def _list(self, conditions: Any) -> list[Any]:
        if conditions is None:
            return []
        return [self._condition(each) for each in (conditions if isinstance(conditions, list | tuple) else (conditions,))]

    def _condition(self, given: Any) -> Any:
        build = self._conditions.get(type(given).__name__)
        if build is None:
            raise TypeError(f"{type(given).__name__} is no condition that this service knows: {', '.join(self._conditions)}")
        return self._pb.Condition(**build(given))

    def _field(self, given: Any) -> dict[str, Any]:
        found = [name for name in _FIELDS if getattr(given, name) is not None]
        if len(found) != 1:
            raise TypeError(f"a condition on {given.key!r} has just one of {', '.join(_FIELDS)}: write two conditions for two")
        name, = found
        test = getattr(given, name)
        return {"key": given.key, "datetime_range" if _is_times(test) else name: self._tests[name](test)}

    def _range(self, given: Any) -> Any:
        bounds = _bounds(given)
        if _is_times(given):
            return self._pb.DatetimeRange(**{name: time_text(bound) for name, bound in bounds.items()})
        return self._pb.Range(**bounds)

    def _match(self, given: Any) -> Any:
        kind = type(given).__name__
        if kind == "MatchValue":
            return self._pb.Match(**{_kind(given.value): given.value})
        if kind == "MatchAny":
            return self._pb.Match(any=self._values(given.any))
        if kind == "MatchExcept":
            return self._pb.Match(**{"except": self._values(given.except_)})
        if kind not in _MATCHES:
            raise TypeError(f"{kind} is no match that this service knows: MatchValue, MatchAny, MatchExcept, {', '.join(_MATCHES)}")
        name = _MATCHES[kind]
        return self._pb.Match(**{name: getattr(given, name)})

    def _values(self, values: Sequence[Any]) -> Any:
        by_kind: dict[str, list[Any]] = {"keyword": [], "integer": [], "boolean": []}
        for value in values:
            by_kind[_kind(value)].append(value)
        if by_kind["boolean"]:
            raise TypeError("a list of values to match has integers or texts: true and false are matched by MatchValue")
        return self._pb.Values(keywords=by_kind["keyword"], integers=by_kind["integer"])

    def _ids(self, ids: Any) -> Any:
        numbers, uuids = split_ids(ids)
        return self._pb.Selection(ids=numbers, uuids=uuids)

    def _point(self, given: Any) -> Any:
        return self._pb.GeoPoint(lon=given.lon, lat=given.lat)

    def _ring(self, given: Any) -> Any:
        return self._pb.GeoRing(points=list(map(self._point, given.points)))


def split_ids(ids: Any) -> tuple[Any, list[str] | None]:
    """Numbers, and UUIDs or None. ValueError for an array of anything but natural numbers."""
    if isinstance(ids, np.ndarray):
        if ids.dtype.kind not in "ui" or (ids.size and ids.min() < 0):
            raise ValueError("an array of ids holds integers that are not negative")
        return ids.astype(np.uint64, copy=False), None
    uuids = [each if isinstance(each, str) else str(each) for each in ids if not isinstance(each, int | np.integer)]
    return ([each for each in ids if isinstance(each, int | np.integer)], uuids) if uuids else (list(ids), None)


def _is_times(test: Any) -> bool:
    return type(test).__name__ == "DatetimeRange"


def _bounds(given: Any) -> dict[str, Any]:
    return {name: bound for name in _BOUNDS if (bound := getattr(given, name)) is not None}


def time_text(bound: datetime | date | str) -> str:
    """As messages have it."""
    if isinstance(bound, datetime) and bound.tzinfo is not None:
        bound = bound.astimezone(UTC)
    return bound if isinstance(bound, str) else bound.isoformat()


def _kind(value: Any) -> str:
    kind = {bool: "boolean", int: "integer", str: "keyword"}.get(type(value))
    if kind is None:
        raise TypeError(f"a value to match is a bool, an int or a str, not {type(value).__name__}: for a float use Range")
    return kind
