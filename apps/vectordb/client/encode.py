"""From models to messages. Models are told by their class's name: qdrant_client's own have the same names and attributes."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import paths
from . import hybrid
from .advice import ONE_VECTOR
from .filters import Filters, split_ids, time_text


class Encoder:
    """pb: the generated messages. as_blob: makes of an array what a bytes field takes."""

    def __init__(self, pb: Any, as_blob: Callable[[np.ndarray], Any]) -> None:
        self._pb, self._as_blob = pb, as_blob
        self.filter = Filters(pb).message

    def rows(self, vectors: Any) -> tuple[Any, int, int]:
        """(what a bytes field is set from, its DType, number of rows). One vector [dim] is one row. ValueError for what is no
        array of numbers."""
        if isinstance(vectors, dict) or (isinstance(vectors, list) and vectors and isinstance(vectors[0], dict)):
            raise ValueError(f"a vector is a list of numbers or an array: {ONE_VECTOR}")
        array = np.asarray(vectors)
        if array.dtype != np.float16:
            array = np.ascontiguousarray(array, np.float32)
        if array.ndim not in (1, 2):
            raise ValueError(f"vectors are [dim] or [n, dim], not {array.ndim} dimensions")
        return self._as_blob(array), self._dtype(array), 1 if array.ndim == 1 else len(array)

    def upsert(self, collection: str, ids: Sequence[Any], vectors: Any, payloads: Iterable[Any] | None = None, *,
               keep_payloads: bool = False) -> Any:
        dense, sparse = hybrid.split(vectors)
        data, dtype, _ = self.rows(dense if len(ids) else np.empty((0, 0), np.float32))
        texts = None if payloads is None else list(map(_text, payloads))
        numbers, uuids = split_ids(ids)
        return self._pb.UpsertRequest(collection=collection, ids=numbers, uuids=uuids, vectors=data, dtype=dtype, payloads=texts,
                                      keep_payloads=keep_payloads, sparse=[hybrid.message(self._pb, *each) for each in sparse.items()])

    def selection(self, points: Any, owner: str = "") -> Any:
        """Of ids, a Filter, a PointIdsList or a FilterSelector."""
        points = getattr(points, "points", getattr(points, "filter", points))
        if _is_filter(points):
            return self._pb.Selection(filter=self.filter(points), owner=owner)
        numbers, uuids = split_ids(points)
        return self._pb.Selection(ids=numbers, uuids=uuids, owner=owner)

    def shown(self, with_payload: Any, with_vectors: Any) -> dict[str, Any]:
        """Of each point: with_payload, fields and with_vectors of a request. TypeError for what says nothing of them; ValueError for what is no
        path."""
        if not isinstance(with_vectors, bool | None):
            raise TypeError(f"with_vectors is True or False: {ONE_VECTOR}")
        if isinstance(with_payload, bool | None):
            return {"with_payload": bool(with_payload), "with_vectors": bool(with_vectors)}
        excluded = getattr(with_payload, "exclude", None)
        included = getattr(with_payload, "include", with_payload) if excluded is None else ()
        if not isinstance(included, list | tuple):
            raise TypeError("with_payload is True, False, a list of paths, PayloadSelectorInclude or PayloadSelectorExclude")
        for key in (*included, *(excluded or ())):
            paths.parse(key)
        fields = None if excluded == [] else self._pb.PayloadFields(include=included, exclude=excluded)
        return {"with_payload": True, "fields": fields, "with_vectors": bool(with_vectors)}

    def order(self, given: Any) -> Any:
        """An OrderBy message of a path or an OrderBy; None for None."""
        if given is None:
            return None
        key, start = getattr(given, "key", given), getattr(given, "start_from", None)
        direction = getattr(given, "direction", None)
        begin = {} if start is None else {"number": start} if isinstance(start, int | float) else {"time": time_text(start)}
        return self._pb.OrderBy(key=key, descending=getattr(direction, "value", direction) == "desc", **begin)

    def _dtype(self, array: np.ndarray) -> int:
        return self._pb.FLOAT16 if array.dtype == np.float16 else self._pb.FLOAT32


def _text(payload: Any) -> str:
    return json.dumps(payload) if payload else ""


def _is_filter(points: Any) -> bool:
    return hasattr(points, "must_not")
