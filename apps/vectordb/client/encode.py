"""From models to messages. Models are told by their class's name: qdrant_client's own have the same names and attributes."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


class Encoder:
    """pb: the generated messages. as_blob: makes of an array what a bytes field takes."""

    def __init__(self, pb: Any, as_blob: Callable[[np.ndarray], Any]) -> None:
        self._pb, self._as_blob = pb, as_blob
        self._conditions = {"Filter": self._nested, "FieldCondition": self._field, "IsEmptyCondition": self._is_empty,
                            "IsNullCondition": self._is_null, "HasIdCondition": self._has_id}

    def rows(self, vectors: Any) -> tuple[Any, int, int]:
        """(what a bytes field is set from, its DType, number of rows). One vector [dim] is one row. ValueError for what is no
        array of numbers."""
        array = np.asarray(vectors)
        if array.dtype != np.float16:
            array = np.ascontiguousarray(array, np.float32)
        if array.ndim not in (1, 2):
            raise ValueError(f"vectors are [dim] or [n, dim], not {array.ndim} dimensions")
        return self._as_blob(array), self._dtype(array), 1 if array.ndim == 1 else len(array)

    def upsert(self, collection: str, ids: Sequence[Any], vectors: Any, payloads: Iterable[Any] | None = None) -> Any:
        data, dtype, _ = self.rows(vectors if len(ids) else np.empty((0, 0), np.float32))
        texts = None if payloads is None else list(map(_text, payloads))
        numbers, uuids = split_ids(ids)
        return self._pb.UpsertRequest(collection=collection, ids=numbers, uuids=uuids, vectors=data, dtype=dtype, payloads=texts)

    def selection(self, points: Any, owner: str = "") -> Any:
        """Of ids, a Filter, a PointIdsList or a FilterSelector."""
        points = getattr(points, "points", getattr(points, "filter", points))
        if _is_filter(points):
            return self._pb.Selection(filter=self.filter(points), owner=owner)
        numbers, uuids = split_ids(points)
        return self._pb.Selection(ids=numbers, uuids=uuids, owner=owner)

    def filter(self, given: Any) -> Any:
        """A Filter message; None for None. TypeError for a condition that this service does not know."""
        if given is None:
            return None
        parts = {name: [self._condition(each) for each in _listed(getattr(given, name))] for name in ("must", "should", "must_not")}
        return self._pb.Filter(**parts)

    def _condition(self, given: Any) -> Any:
        build = self._conditions.get(type(given).__name__)
        if build is None:
            raise TypeError(f"{type(given).__name__} is no condition that this service knows: {', '.join(self._conditions)}")
        return build(given)

    def _nested(self, given: Any) -> Any:
        return self._pb.Condition(filter=self.filter(given))

    def _is_empty(self, given: Any) -> Any:
        return self._pb.Condition(key=given.is_empty.key, is_empty=True)

    def _is_null(self, given: Any) -> Any:
        return self._pb.Condition(key=given.is_null.key, is_null=True)

    def _has_id(self, given: Any) -> Any:
        numbers, uuids = split_ids(given.has_id)
        return self._pb.Condition(has_id=self._pb.Selection(ids=numbers, uuids=uuids))

    def _field(self, given: Any) -> Any:
        if given.match is not None:
            return self._pb.Condition(key=given.key, match=self._match(given.match))
        if given.range is not None:
            bounds = {name: getattr(given.range, name) for name in ("gt", "gte", "lt", "lte")}
            return self._pb.Condition(key=given.key, range=self._pb.Range(**bounds))
        raise TypeError(f"the condition on {given.key!r} is one that this service does not know: use match or range")

    def _match(self, given: Any) -> Any:
        kind = type(given).__name__
        if kind == "MatchValue":
            return self._pb.Match(**{_kind(given.value): given.value})
        if kind == "MatchAny":
            return self._pb.Match(any=self._values(given.any))
        if kind == "MatchExcept":
            return self._pb.Match(**{"except": self._values(given.except_)})
        if kind == "MatchText":
            return self._pb.Match(text=given.text)
        raise TypeError(f"{kind} is no match that this service knows: MatchValue, MatchAny, MatchExcept, MatchText")

    def _values(self, values: Sequence[Any]) -> Any:
        return self._pb.Values(keywords=[v for v in values if isinstance(v, str)], integers=[v for v in values if not isinstance(v, str)])

    def _dtype(self, array: np.ndarray) -> int:
        return self._pb.FLOAT16 if array.dtype == np.float16 else self._pb.FLOAT32


def split_ids(ids: Any) -> tuple[Any, list[str] | None]:
    """Numbers, and UUIDs or None. ValueError for an array of anything but natural numbers."""
    if isinstance(ids, np.ndarray):
        if ids.dtype.kind not in "ui" or (ids.size and ids.min() < 0):
            raise ValueError("an array of ids holds integers that are not negative")
        return ids.astype(np.uint64, copy=False), None
    uuids = [each if isinstance(each, str) else str(each) for each in ids if not isinstance(each, int | np.integer)]
    return ([each for each in ids if isinstance(each, int | np.integer)], uuids) if uuids else (list(ids), None)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "keyword"


def _text(payload: Any) -> str:
    return json.dumps(payload) if payload else ""


def _listed(conditions: Any) -> Sequence[Any]:
    if conditions is None:
        return ()
    return conditions if isinstance(conditions, list | tuple) else (conditions,)


def _is_filter(points: Any) -> bool:
    return hasattr(points, "must_not")
