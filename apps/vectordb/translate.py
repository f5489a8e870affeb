"""Between messages and what the database takes and gives. No message leaves the service, no model of the database enters a message
but here."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .database import Results
from .database.errors import Invalid
from .selection import Choose

METRICS = {1: "cosine", 2: "ip", 3: "l2"}
DTYPES = {1: "float32", 2: "float16"}
CONFLICTS = {0: "refuse", 1: "replace", 2: "skip"}
"""What enums' numbers mean. Others are left to the database to refuse."""

_FLOAT16, _FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
_BOUNDS = ("gt", "gte", "lt", "lte")
_LIMITS = ("vectors", "bytes", "queries_per_s", "burst")


def vectors(request: Any, rows: int) -> np.ndarray:
    """[rows, dim] of a message's vectors or values, read where the message lies. Invalid when they make no such array."""
    data, dtype = request.vectors, _FLOAT16 if request.dtype == 2 else _FLOAT32
    try:
        flat = np.frombuffer(data, dtype) if data else np.asarray(request.values, np.float32)
        return flat.reshape(rows, -1 if rows else flat.size)
    except ValueError:
        raise Invalid(f"{len(data) or 4 * len(request.values)} bytes of vectors are not {rows} rows of {dtype}") from None


def ids(message: Any) -> Sequence[Any]:
    """Numbers as an array, or, with UUIDs, numbers and texts as a list."""
    if len(message.uuids):
        return [*message.ids, *message.uuids]
    return np.asarray(message.ids, np.uint64)


def payloads(message: Any) -> list[bytes | None] | None:
    """JSON texts; None where there is none, or for all."""
    return [text.encode() or None for text in message.payloads] or None


def payload(text: str) -> dict[str, Any]:
    """A JSON object. Invalid for other text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid("the payload is no JSON") from None
    if not isinstance(found, dict):
        raise Invalid("a payload is a JSON object")
    return found


def selected(points: Any) -> Any:
    """Ids, (owner, id) pairs, or a filter as the database reads it. Invalid when both are there."""
    if not points.HasField("filter"):
        return named(points)
    if len(points.ids) or len(points.uuids):
        raise Invalid("a selection names points by id or by filter, not by both")
    return filter_of(points.filter)


def named(points: Any) -> Sequence[Any]:
    """Ids, or (owner, id) pairs where the message names an owner."""
    found = ids(points)
    return [(points.owner, each) for each in _listed(found)] if points.owner else found


def filter_of(message: Any) -> dict[str, Any]:
    """A Filter message as nested dicts."""
    found: dict[str, Any] = {name: _conditions(getattr(message, name)) for name in ("must", "should", "must_not")}
    if message.HasField("min_should"):
        found["min_should"] = {"conditions": _conditions(message.min_should.conditions), "min_count": message.min_should.min_count}
    return found


def optional_filter(request: Any) -> dict[str, Any] | None:
    return filter_of(request.filter) if request.HasField("filter") else None


def _conditions(messages: Any) -> list[dict[str, Any]]:
    return [_condition(each) for each in messages]


def _condition(message: Any) -> dict[str, Any]:
    test = message.WhichOneof("test")
    if test is None:
        raise Invalid("a condition of the filter tests nothing")
    given = getattr(message, test)
    if test == "filter":
        return filter_of(given)
    if test == "has_id":
        return {"has_id": list(_listed(named(given)))}
    if test == "nested":
        return {"nested": {"key": message.key, "filter": filter_of(given)}}
    return {"key": message.key, "range" if test == "datetime_range" else test: _TESTS[test](given)}


def _match(message: Any) -> dict[str, Any]:
    kind = message.WhichOneof("value")
    if kind is None:
        raise Invalid("a match of the filter names no value")
    given = getattr(message, kind)
    if kind in ("any", "except"):
        return {kind: [*given.keywords, *given.integers]}
    return {"value" if kind in ("keyword", "integer", "boolean") else kind: given}


def _bounds(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in _BOUNDS if message.HasField(name)}


def _times(message: Any) -> dict[str, Any]:
    return _bounds(message) or {"gte": "0001-01-01"}  # any time, but no number


def _point(message: Any) -> dict[str, float]:
    return {"lon": message.lon, "lat": message.lat}


def _ring(message: Any) -> dict[str, Any]:
    return {"points": [_point(each) for each in message.points]}


_TESTS: dict[str, Callable[[Any], Any]] = {
    "match": _match, "range": _bounds, "datetime_range": _times, "values_count": _bounds, "is_empty": bool, "is_null": bool,
    "geo_radius": lambda message: {"center": _point(message.center), "radius": message.radius},
    "geo_bounding_box": lambda message: {"top_left": _point(message.top_left), "bottom_right": _point(message.bottom_right)},
    "geo_polygon": lambda message: {"exterior": _ring(message.exterior), "interiors": [_ring(each) for each in message.interiors]},
}
"""From the message of a condition's test to the database's object."""


def quota(message: Any) -> dict[str, Any]:
    """The limits that are set."""
    return {name: getattr(message, name) for name in _LIMITS if message.HasField(name)}


class Replies:
    """Makes reply messages of one transport's classes."""

    def __init__(self, pb: Any) -> None:
        self._pb = pb

    def hits(self, found: Results, tenant: str, metric: str, choose: Choose | None = None) -> Any:
        """A SearchReply. choose: of each payload."""
        reply = self._pb.SearchReply(scores=scores(found.distances, metric), counts=found.counts)
        self._fill(reply.points, found.ids, found.owners, found.owner, tenant, found.payloads, choose)
        return reply

    def records(self, found: Sequence[Any], tenant: str, choose: Choose | None = None) -> Any:
        """A Records message of database records. choose: of each payload."""
        message = self._pb.Records()
        if found:
            places = {name: index for index, name in enumerate(dict.fromkeys(each.owner for each in found))}
            texts = [each.payload for each in found] if found[0].payload is not None else None
            self._fill(message, [each.id for each in found], list(places), [places[each.owner] for each in found], tenant, texts, choose)
            if found[0].vector is not None:
                message.vectors, message.dtype = rows(found)
                fill_sparse(message, found)
        return message

    def _fill(self, message: Any, ids: Sequence[Any], owners: list[str], owner: Sequence[int], tenant: str, texts: Sequence[bytes] | None,
              choose: Choose | None) -> None:
        """Fills a Records message. owners: those that occur; owner: whose each point is, by index."""
        if owners != [tenant]:
            message.owners.extend(owners)
            message.owner.extend(owner)
        if texts:
            decoded = map(bytes.decode, texts)
            message.payloads.extend(decoded if choose is None else map(choose, decoded))
        try:
            message.ids.extend(ids)
        except TypeError:  # there are UUIDs among them
            message.ids.extend(0 if isinstance(each, str) else each for each in ids)
            message.uuids.extend(each if isinstance(each, str) else "" for each in ids)


def rows(records: Sequence[Any]) -> tuple[bytes, int]:
    """The vectors of records one after the other, and their DType."""
    if not records:
        return b"", 0
    stacked = np.stack([each.vector for each in records])
    return stacked.tobytes(), number(DTYPES, stacked.dtype.name)


def fill_sparse(message: Any, records: Sequence[Any]) -> None:
    """The sparse vectors of records, in a Records message."""
    for name in dict.fromkeys(name for each in records for name in each.sparse or ()):
        vectors = [(each.sparse or {}).get(name) for each in records]
        there = [each for each in vectors if each is not None]
        message.sparse.add(name=name, sizes=[0 if each is None else len(each.indices) for each in vectors],
                           indices=np.concatenate([each.indices for each in there]), values=np.concatenate([each.values for each in there]))


def number(names: dict[int, str], name: str) -> int:
    """Of an enum's value."""
    return next(number for number, each in names.items() if each == name)


def scores(distances: np.ndarray, metric: str) -> np.ndarray:
    """What qdrant's users know: similarities for cosine and ip, the distance itself for l2."""
    if metric == "cosine":
        return 1.0 - distances
    return -distances if metric == "ip" else np.sqrt(distances)


def near_enough(found: Results, metric: str, threshold: float) -> Results:
    """Those with that score or a nearer one."""
    reached = scores(found.distances, metric)
    return found.only(reached <= threshold if metric == "l2" else reached >= threshold)


def _listed(found: Sequence[Any]) -> Sequence[Any]:
    return found.tolist() if isinstance(found, np.ndarray) else found
