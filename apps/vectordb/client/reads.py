"""How a tenant finds points, by qdrant_client's names."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import decode, hybrid
from .advice import ONE_VECTOR, unknown_argument
from .models import (
    CountResult,
    Filter,
    HasIdCondition,
    OrderBy,
    PointId,
    Prefetch,
    QueryRequest,
    QueryResponse,
    Record,
    ScoredPoint,
    SearchParams,
    WithPayload,
)
from .operations import operation
from .queries import QueriesMixin, strategy

_ABSENT = ("lookup_from", "shard_key")
_NO_PARAMS = ("hnsw_ef", "quantization", "indexed_only", "acorn", "idf")
"""Of qdrant_client's QueryRequest and SearchParams: what means nothing here."""


class ReadsMixin(QueriesMixin):
    """with_payload: True, False, a list of paths to be there, PayloadSelectorInclude or PayloadSelectorExclude.
    with_vectors: vectors come as arrays [dim]."""

    @operation
    async def query_points(self, collection_name: str, query: Any, using: str | None = None,
                           prefetch: Prefetch | Sequence[Prefetch] | None = None, query_filter: Filter | None = None,
                           search_params: SearchParams | None = None, limit: int = 10, offset: int = 0, with_payload: WithPayload = True,
                           with_vectors: bool = False, score_threshold: float | None = None, *, timeout: float | None = None) -> QueryResponse:
        """The nearest points, of all that the tenant sees: to a vector, or to one of its own points by id, which is left out itself. By a
        RecommendQuery, DiscoverQuery or ContextQuery: the best by several vectors and ids. By a SparseVector of the name `using`: those with
        the largest product. By a FusionQuery or RrfQuery: the best of what `prefetch` finds, as one list."""
        request = QueryRequest(query, using, prefetch, query_filter, search_params, limit, offset, with_payload, with_vectors, score_threshold)
        return QueryResponse(await self._query(collection_name, request))

    @operation
    async def query_batch_points(self, collection_name: str, requests: Sequence[QueryRequest], *,
                                 timeout: float | None = None) -> list[QueryResponse]:
        """Many queries; those that differ in nothing but the vector are one call."""
        together: dict[Any, list[tuple[int, Any]]] = {}
        answers = [QueryResponse([])] * len(requests)
        for at, request in enumerate(requests):
            _refuse(request, _ABSENT)
            if request.using or request.prefetch or hybrid.is_ranked(request.query) or strategy(request.query):
                answers[at] = QueryResponse(await self._query(collection_name, request))
                continue
            vector, named = await self._vector(collection_name, request.query)
            wanted = self._encoder.filter(_without(request.filter, named))
            key = (None if wanted is None else wanted.SerializeToString(), repr(request.params), request.limit or 10, request.offset or 0,
                   repr(request.with_payload), repr(request.with_vector), request.score_threshold)
            together.setdefault(key, []).append((at, (vector, named)))
        for (_, _, limit, offset, *_), members in together.items():
            (first, (_, named)), vectors = members[0], np.stack([vector for _, (vector, _) in members])
            like = requests[first]
            found = await self._search(collection_name, vectors, _without(like.filter, named), like.params, limit + offset,
                                       like.with_payload, like.with_vector, like.score_threshold)
            for (at, _), hits in zip(members, found, strict=True):
                answers[at] = QueryResponse(hits[offset:])
        return answers

    @operation
    async def search_columns(self, collection_name: str, vectors: np.ndarray, limit: int, query_filter: Filter | None = None,
                             search_params: SearchParams | None = None, *,
                             timeout: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids u64, scores f32, counts u32 of each query) of vectors [n, dim], read where the reply lies: for many queries
        over points that are named by numbers."""
        reply = await self._search_reply(collection_name, vectors, query_filter, search_params, limit, None)
        return np.asarray(reply.points.ids), np.asarray(reply.scores), np.asarray(reply.counts)

    @operation
    async def scroll(self, collection_name: str, scroll_filter: Filter | None = None, limit: int = 10,
                     order_by: OrderBy | str | None = None, offset: str | None = None, with_payload: WithPayload = True,
                     with_vectors: bool = False, *, timeout: float | None = None) -> tuple[list[Record], str | None]:
        """One page, and the offset of the next: None after the last. Pages come in the order of writing, or in that of the numbers and times
        at a path: then begin the next page at its last value (start_from)."""
        request = self._pb.ScrollRequest(collection=collection_name, filter=self._encoder.filter(scroll_filter), limit=limit,
                                         cursor=offset or "", order_by=self._encoder.order(order_by),
                                         **self._encoder.shown(with_payload, with_vectors))
        reply = await self._call(self._points.Scroll, request)
        return decode.records(reply.points, self._own, reply.order_values), reply.next_cursor or None

    @operation
    async def count(self, collection_name: str, count_filter: Filter | None = None, exact: bool = True, *,
                    timeout: float | None = None) -> CountResult:
        """Of what the tenant sees; always exact."""
        request = self._pb.CountRequest(collection=collection_name, filter=self._encoder.filter(count_filter))
        return CountResult((await self._call(self._points.Count, request)).count)

    @operation
    async def retrieve(self, collection_name: str, ids: Sequence[PointId], with_payload: WithPayload = True, with_vectors: bool = False,
                       owner: str = "", *, timeout: float | None = None) -> list[Record]:
        """Points by id, without those that the tenant does not see. owner: whose points, if not its own."""
        return await self._retrieve(collection_name, ids, with_payload, with_vectors, owner)

    async def _retrieve(self, collection: str, ids: Sequence[PointId], with_payload: WithPayload, with_vectors: bool, owner: str) -> list[Record]:
        request = self._pb.GetRequest(collection=collection, points=self._encoder.selection(ids, owner),
                                      **self._encoder.shown(with_payload, with_vectors))
        reply = await self._call(self._points.Get, request)
        return decode.records(reply, owner or self._own)

    async def _query(self, collection: str, asked: QueryRequest) -> list[ScoredPoint]:
        """What one query finds."""
        offset = asked.offset or 0
        shown = {"collection": collection, **self._encoder.shown(asked.with_payload, asked.with_vector)}
        if asked.prefetch or hybrid.is_ranked(asked.query):
            request, method = await self._fuse_request(collection, asked, offset, shown), self._points.Fuse
        else:
            request, method = await self._request(collection, asked, _limit(asked) + offset, shown), self._points.Search
        return decode.hits(await self._call(method, request), self._own)[0][offset:]

    async def _fuse_request(self, collection: str, asked: QueryRequest, offset: int, shown: dict[str, Any]) -> Any:
        """TypeError for prefetches that are not fused, or not one level deep."""
        prefetch = asked.prefetch if isinstance(asked.prefetch, list | tuple) else [asked.prefetch] if asked.prefetch else []
        if not (prefetch and hybrid.is_ranked(asked.query)):
            raise TypeError("prefetches are fused by a FusionQuery or an RrfQuery, which need some")
        for each in prefetch:
            _refuse(each, ("prefetch", "lookup_from"))
        searches = [await self._request(collection, each, _limit(each)) for each in prefetch]
        return self._pb.FuseRequest(searches=searches, queries=len(searches), k=max(each.k for each in searches),
                                    limit=_limit(asked) + offset, filter=self._encoder.filter(asked.filter),
                                    score_threshold=asked.score_threshold, **hybrid.how(self._pb, asked.query), **shown)

    async def _request(self, collection: str, asked: QueryRequest | Prefetch, k: int, more: dict[str, Any] | None = None) -> Any:
        """A SearchRequest of one query. more: the collection, and what is to be shown of hits."""
        query = getattr(asked.query, "nearest", asked.query)
        if hasattr(query, "indices"):
            what = {"sparse": hybrid.message(self._pb, asked.using or hybrid.DENSE, [query])}
            return self._search_request(what, asked.filter, asked.params, k, asked.score_threshold, **(more or {}))
        if asked.using:
            raise TypeError(f"the query for vectors {asked.using!r} is a SparseVector: {ONE_VECTOR}")
        what, named = await self._dense(collection, query)
        return self._search_request(what, _without(asked.filter, named), asked.params, k, asked.score_threshold, **(more or {}))

    def _search_request(self, what: dict[str, Any], query_filter: Any, params: Any, k: int, threshold: float | None, **more: Any) -> Any:
        if params is not None:
            _refuse(params, _NO_PARAMS)
        return self._pb.SearchRequest(k=k, filter=self._encoder.filter(query_filter), exact=bool(getattr(params, "exact", False)),
                                      recall=getattr(params, "recall", None), score_threshold=threshold, **what, **more)

    async def _search(self, collection: str, query: Any, query_filter: Any, params: Any, k: int, with_payload: Any, with_vectors: Any,
                      threshold: float | None) -> list[list[ScoredPoint]]:
        shown = self._encoder.shown(with_payload, with_vectors)
        return decode.hits(await self._search_reply(collection, query, query_filter, params, k, threshold, **shown), self._own)

    async def _search_reply(self, collection: str, query: Any, query_filter: Any, params: Any, k: int, threshold: float | None,
                            **shown: Any) -> Any:
        request = self._search_request(self._rows(query), query_filter, params, k, threshold, collection=collection, **shown)
        return await self._call(self._points.Search, request)


def _without(wanted: Filter | None, named: list[PointId]) -> Filter | None:
    """The filter, for points other than those."""
    return Filter(must=wanted, must_not=HasIdCondition(named)) if named else wanted


def _limit(asked: QueryRequest | Prefetch) -> int:
    """10 where none is given."""
    return 10 if asked.limit is None else asked.limit


def _refuse(given: Any, names: tuple[str, ...]) -> None:
    """TypeError when one of them is set."""
    asked = [name for name in names if getattr(given, name, None)]
    if asked:
        raise TypeError(unknown_argument(type(given).__name__, asked))
