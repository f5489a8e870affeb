"""What a tenant does with points, by qdrant_client's names."""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import decode
from .collections import CollectionsMixin
from .models import (
    Batch,
    CountResult,
    Distance,
    Filter,
    PointId,
    PointStruct,
    QueryRequest,
    QueryResponse,
    Record,
    ScoredPoint,
    SearchParams,
    UpdateResult,
)


class PointsMixin(CollectionsMixin):
    """Every method raises the transport's RpcError when the service refuses. Keyword arguments of qdrant_client that make no
    difference here (wait, consistency, ...) are not taken, so that nothing is silently ignored; but for wait=True: an
    acknowledged write is durable."""

    def upsert(self, collection_name: str, points: Batch | Sequence[PointStruct], wait: bool = True) -> UpdateResult:
        """Writes points of the tenant, all or none."""
        if hasattr(points, "ids"):
            ids, vectors, payloads = points.ids, points.vectors, points.payloads
        else:
            ids, vectors = [point.id for point in points], [point.vector for point in points]
            payloads = [point.payload for point in points]
        return self._changed(self._points.Upsert, self._encoder.upsert(collection_name, ids, vectors, payloads))

    def delete(self, collection_name: str, points_selector: Any, wait: bool = True) -> UpdateResult:
        """points_selector: ids, a Filter, PointIdsList or FilterSelector."""
        request = self._pb.DeleteRequest(collection=collection_name, points=self._encoder.selection(points_selector))
        return self._changed(self._points.Delete, request)

    def set_payload(self, collection_name: str, payload: dict[str, Any], points: Any, wait: bool = True) -> UpdateResult:
        """Sets the fields given; others stay."""
        return self._set_payload(collection_name, payload, points, overwrite=False)

    def overwrite_payload(self, collection_name: str, payload: dict[str, Any], points: Any, wait: bool = True) -> UpdateResult:
        return self._set_payload(collection_name, payload, points, overwrite=True)

    def delete_payload(self, collection_name: str, keys: Sequence[str], points: Any, wait: bool = True) -> UpdateResult:
        request = self._pb.DeletePayloadRequest(collection=collection_name, points=self._encoder.selection(points), keys=keys)
        return self._changed(self._points.DeletePayload, request)

    def grant(self, collection_name: str, points: Any, to: str) -> UpdateResult:
        """Shows own points (ids or a Filter) to a tenant or role. count: how many are newly seen."""
        return self._changed(self._points.Grant, self._share(collection_name, points, to))

    def revoke(self, collection_name: str, points: Any, to: str) -> UpdateResult:
        return self._changed(self._points.Revoke, self._share(collection_name, points, to))

    def query_points(self, collection_name: str, query: Any, query_filter: Filter | None = None,
                     search_params: SearchParams | None = None, limit: int = 10, offset: int = 0, with_payload: bool = True,
                     with_vectors: bool = False, score_threshold: float | None = None) -> QueryResponse:
        """The nearest points to one vector, of all that the tenant sees."""
        found = self._search(collection_name, query, query_filter, search_params, limit + offset, with_payload, with_vectors)
        return QueryResponse(self._within(collection_name, found[0][offset:], score_threshold))

    def query_batch_points(self, collection_name: str, requests: Sequence[QueryRequest]) -> list[QueryResponse]:
        """Many vectors at once. ValueError when the requests differ in more than the query."""
        if not requests:
            return []
        first = requests[0]
        alike = [(r.filter, r.params, r.limit, r.with_payload, r.with_vector, r.score_threshold) for r in requests]
        if any(each != alike[0] for each in alike):
            raise ValueError("the requests of a batch may differ in nothing but the query")
        found = self._search(collection_name, np.array([request.query for request in requests], np.float32), first.filter,
                             first.params, first.limit, bool(first.with_payload), bool(first.with_vector))
        return [QueryResponse(self._within(collection_name, hits, first.score_threshold)) for hits in found]

    def search_columns(self, collection_name: str, vectors: np.ndarray, limit: int, query_filter: Filter | None = None,
                       search_params: SearchParams | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids u64, scores f32, counts u32 of each query) of vectors [n, dim], read where the reply lies: for many queries
        over points that are named by numbers."""
        reply = self._search_reply(collection_name, vectors, query_filter, search_params, limit, False, False)
        return np.asarray(reply.points.ids), np.asarray(reply.scores), np.asarray(reply.counts)

    def scroll(self, collection_name: str, scroll_filter: Filter | None = None, limit: int = 10, offset: str | None = None,
               with_payload: bool = True, with_vectors: bool = False) -> tuple[list[Record], str | None]:
        """One page, and the offset of the next: None after the last."""
        request = self._pb.ScrollRequest(collection=collection_name, filter=self._encoder.filter(scroll_filter), limit=limit,
                                         cursor=offset or "", with_payload=with_payload, with_vectors=with_vectors)
        reply = self._call(self._points.Scroll, request)
        return decode.records(reply.points, self._own), reply.next_cursor or None

    def count(self, collection_name: str, count_filter: Filter | None = None, exact: bool = True) -> CountResult:
        """Of what the tenant sees; always exact."""
        request = self._pb.CountRequest(collection=collection_name, filter=self._encoder.filter(count_filter))
        return CountResult(self._call(self._points.Count, request).count)

    def retrieve(self, collection_name: str, ids: Sequence[PointId], with_payload: bool = True, with_vectors: bool = False,
                 owner: str = "") -> list[Record]:
        """Points by id, without those that the tenant does not see. owner: whose points, if not its own."""
        request = self._pb.GetRequest(collection=collection_name, points=self._encoder.selection(ids, owner),
                                      with_payload=with_payload, with_vectors=with_vectors)
        return decode.records(self._call(self._points.Get, request), owner or self._own)

    def _search(self, *given: Any) -> Any:
        return decode.hits(self._search_reply(*given), self._own)

    def _search_reply(self, collection: str, query: Any, query_filter: Any, params: Any, k: int, with_payload: bool,
                      with_vectors: bool) -> Any:
        data, dtype, queries = self._encoder.rows(query)
        request = self._pb.SearchRequest(collection=collection, queries=queries, k=k, vectors=data, dtype=dtype,
                                         filter=self._encoder.filter(query_filter), with_payload=with_payload,
                                         with_vectors=with_vectors, exact=bool(getattr(params, "exact", False)),
                                         recall=getattr(params, "recall", None))
        return self._call(self._points.Search, request)

    def _within(self, collection: str, found: list[ScoredPoint], threshold: float | None) -> list[ScoredPoint]:
        if threshold is None:
            return found
        if self.get_collection(collection).vectors.distance is Distance.EUCLID:
            return [hit for hit in found if hit.score <= threshold]
        return [hit for hit in found if hit.score >= threshold]

    def _set_payload(self, collection: str, payload: dict[str, Any], points: Any, *, overwrite: bool) -> UpdateResult:
        request = self._pb.SetPayloadRequest(collection=collection, points=self._encoder.selection(points),
                                             payload=json.dumps(payload), overwrite=overwrite)
        return self._changed(self._points.SetPayload, request)

    def _share(self, collection: str, points: Any, to: str) -> Any:
        return self._pb.ShareRequest(collection=collection, points=self._encoder.selection(points), to=to)

    def _changed(self, method: Any, request: Any) -> UpdateResult:
        return UpdateResult(self._call(method, request).count)
