"""How a tenant changes its points, by qdrant_client's names."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

import numpy as np

from .advice import METHODS
from .connection import Base
from .models import Batch, PointId, PointStruct, PointVectors, UpdateResult
from .operations import operation

BATCH_SIZE = 500
Progress = Callable[[int], object]
"""Told after each batch how many points were written so far."""


class WritesMixin(Base):
    """wait is taken and makes no difference: an acknowledged write is durable. points of a method that changes some are ids, a
    Filter, a PointIdsList or a FilterSelector."""

    @operation
    async def upsert(self, collection_name: str, points: Batch | Sequence[PointStruct], wait: bool = True, *,
                     timeout: float | None = None) -> UpdateResult:
        """Writes points of the tenant, all or none."""
        return await self._upsert(collection_name, points)

    @operation
    async def upload_points(self, collection_name: str, points: Iterable[PointStruct], batch_size: int = BATCH_SIZE, wait: bool = True, *,
                            progress: Progress | None = None, timeout: float | None = None) -> None:
        """Writes any number of points, batch by batch: when one fails, those before it are there."""
        await self._upload(collection_name, _parts(points, batch_size), progress)

    @operation
    async def upload_collection(self, collection_name: str, vectors: np.ndarray | Iterable[Sequence[float]],
                                payload: Iterable[dict[str, Any]] | None = None, ids: Iterable[PointId] | None = None,
                                batch_size: int = BATCH_SIZE, wait: bool = True, *, progress: Progress | None = None,
                                timeout: float | None = None) -> None:
        """The same of columns; an array [n, dim] is quickest. Without ids, points get random UUIDs."""
        await self._upload(collection_name, _batches(vectors, payload, ids, batch_size), progress)

    @operation
    async def update_vectors(self, collection_name: str, points: Sequence[PointVectors], wait: bool = True, *,
                             timeout: float | None = None) -> UpdateResult:
        """New vectors for points that are there; their payloads and grants stay."""
        return await self._update_vectors(collection_name, points)

    @operation
    async def delete(self, collection_name: str, points_selector: Any, wait: bool = True, *, timeout: float | None = None) -> UpdateResult:
        return await self._delete(collection_name, points_selector)

    @operation
    async def set_payload(self, collection_name: str, payload: dict[str, Any], points: Any, key: str | None = None, wait: bool = True, *,
                          timeout: float | None = None) -> UpdateResult:
        """Sets the fields given, in the object at the path key or at the top; None takes a field away; others stay."""
        return await self._set_payload(collection_name, payload, points, key)

    @operation
    async def overwrite_payload(self, collection_name: str, payload: dict[str, Any], points: Any, wait: bool = True, *,
                                timeout: float | None = None) -> UpdateResult:
        return await self._overwrite_payload(collection_name, payload, points)

    @operation
    async def delete_payload(self, collection_name: str, keys: Sequence[str], points: Any, wait: bool = True, *,
                             timeout: float | None = None) -> UpdateResult:
        """keys: paths."""
        return await self._delete_payload(collection_name, keys, points)

    @operation
    async def clear_payload(self, collection_name: str, points_selector: Any, wait: bool = True, *,
                            timeout: float | None = None) -> UpdateResult:
        return await self._overwrite_payload(collection_name, {}, points_selector)

    @operation
    async def batch_update_points(self, collection_name: str, update_operations: Sequence[Any], wait: bool = True, *,
                                  timeout: float | None = None) -> list[UpdateResult]:
        """One operation after the other: when one fails, those before it are done."""
        steps = [self._step(collection_name, each) for each in update_operations]
        return [await step() for step in steps]

    @operation
    async def grant(self, collection_name: str, points: Any, to: str, *, timeout: float | None = None) -> UpdateResult:
        """Shows own points to a tenant or role. count: how many are newly seen."""
        return await self._changed(self._points.Grant, self._share(collection_name, points, to))

    @operation
    async def revoke(self, collection_name: str, points: Any, to: str, *, timeout: float | None = None) -> UpdateResult:
        return await self._changed(self._points.Revoke, self._share(collection_name, points, to))

    async def _upsert(self, collection: str, points: Any) -> UpdateResult:
        points = getattr(points, "batch", getattr(points, "points", points))
        if hasattr(points, "ids"):
            ids, vectors, payloads = points.ids, points.vectors, points.payloads
        else:
            ids, vectors = [point.id for point in points], [point.vector for point in points]
            payloads = [point.payload for point in points]
        return await self._changed(self._points.Upsert, self._encoder.upsert(collection, ids, vectors, payloads))

    async def _upload(self, collection: str, batches: Iterator[Any], progress: Progress | None) -> None:
        done = 0
        for batch in batches:
            done += (await self._upsert(collection, batch)).count
            if progress is not None:
                progress(done)

    async def _update_vectors(self, collection: str, points: Any) -> UpdateResult:
        points = getattr(points, "points", points)
        ids, vectors = [point.id for point in points], [point.vector for point in points]
        return await self._changed(self._points.Upsert, self._encoder.upsert(collection, ids, vectors, keep_payloads=True))

    async def _delete(self, collection: str, points: Any) -> UpdateResult:
        request = self._pb.DeleteRequest(collection=collection, points=self._encoder.selection(points))
        return await self._changed(self._points.Delete, request)

    async def _set_payload(self, collection: str, payload: dict[str, Any], points: Any, key: str | None) -> UpdateResult:
        request = self._pb.SetPayloadRequest(collection=collection, points=self._encoder.selection(points), payload=json.dumps(payload),
                                             key=key or "")
        return await self._changed(self._points.SetPayload, request)

    async def _overwrite_payload(self, collection: str, payload: dict[str, Any], points: Any) -> UpdateResult:
        request = self._pb.SetPayloadRequest(collection=collection, points=self._encoder.selection(points), payload=json.dumps(payload),
                                             overwrite=True)
        return await self._changed(self._points.SetPayload, request)

    async def _delete_payload(self, collection: str, keys: Sequence[str], points: Any) -> UpdateResult:
        request = self._pb.DeletePayloadRequest(collection=collection, points=self._encoder.selection(points), keys=keys)
        return await self._changed(self._points.DeletePayload, request)

    def _step(self, collection: str, given: Any) -> Callable[[], Any]:
        """What an operation of a batch does. TypeError when it is none."""
        name = next(iter(vars(given)), "")
        of: Any = getattr(given, name, None)
        match name:
            case "upsert":
                return lambda: self._upsert(collection, of)
            case "update_vectors":
                return lambda: self._update_vectors(collection, of)
            case "delete":
                return lambda: self._delete(collection, of)
            case "set_payload":
                return lambda: self._set_payload(collection, of.payload, _chosen(of), of.key)
            case "overwrite_payload":
                return lambda: self._overwrite_payload(collection, of.payload, _chosen(of))
            case "delete_payload":
                return lambda: self._delete_payload(collection, of.keys, _chosen(of))
            case "clear_payload":
                return lambda: self._overwrite_payload(collection, {}, of)
        raise TypeError(f"{type(given).__name__} is no operation of this service" + (f": {METHODS[name]}" if name in METHODS else ""))

    def _share(self, collection: str, points: Any, to: str) -> Any:
        return self._pb.ShareRequest(collection=collection, points=self._encoder.selection(points), to=to)

    async def _changed(self, method: Any, request: Any) -> UpdateResult:
        return UpdateResult((await self._call(method, request)).count)


def _chosen(given: Any) -> Any:
    """Which points SetPayload and DeletePayload are of. ValueError when it has neither, which is not all of them."""
    if given.points is None and given.filter is None:
        raise ValueError(f"{type(given).__name__} names its points by `points` or by `filter`")
    return given.points if given.points is not None else given.filter


def _parts(whole: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(whole)
    while part := list(islice(rest, size)):
        yield part


def _by_point(columns: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each point's vectors by name."""
    return (dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True))


def _batches(vectors: Any, payloads: Any, ids: Any, size: int) -> Iterator[Batch]:
    """ValueError when one of the columns ends before the vectors, or one name's vectors before another's."""
    if isinstance(vectors, dict):
        vectors = _by_point(vectors)
    parts = (vectors[at:at + size] for at in range(0, len(vectors), size)) if isinstance(vectors, np.ndarray) else _parts(vectors, size)
    payloads, ids = None if payloads is None else iter(payloads), None if ids is None else iter(ids)
    for part in parts:
        count = len(part)
        names = [str(uuid4()) for _ in part] if ids is None else list(islice(ids, count))
        texts = None if payloads is None else list(islice(payloads, count))
        if len(names) < count or (texts is not None and len(texts) < count):
            raise ValueError("there are more vectors than ids or payloads")
        yield Batch(names, part, texts)
