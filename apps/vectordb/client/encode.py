"""From models to messages. Models are told by their class's name: qdrant_client's own have the same names and attributes."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import hybrid
from .advice import ONE_VECTOR
from .filters import Filters, split_ids


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

    def _dtype(self, array: np.ndarray) -> int:
        return self._pb.FLOAT16 if array.dtype == np.float16 else self._pb.FLOAT32


def _text(payload: Any) -> str:
    return json.dumps(payload) if payload else ""


def _is_filter(points: Any) -> bool:
    return hasattr(points, "must_not")
