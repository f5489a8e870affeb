"""How a tenant finds points, by qdrant_client's names."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np

from . import decode, hybrid
from .advice import ONE_VECTOR, unknown_argument
from .connection import Base
from .exceptions import refused
from .models import (
    CountResult,
    Filter,
    HasIdCondition,
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
from .reasons import Reason

_ABSENT = ("lookup_from", "shard_key")
_NO_PARAMS = ("hnsw_ef", "quantization", "indexed_only", "acorn", "idf")
"""Of qdrant_client's QueryRequest and SearchParams: what means nothing here."""


class ReadsMixin(Base):
    """with_payload: True, False, a list of paths to be there, PayloadSelectorInclude or PayloadSelectorExclude (chosen from what came).
    with_vectors: vectors come as arrays [dim]."""

    @operation
    async def query_points(self, collection_name: str, query: Any, using: str | None = None,
                           prefetch: Prefetch | Sequence[Prefetch] | None = None, query_filter: Filter | None = None,
                           search_params: SearchParams | None = None, limit: int = 10, offset: int = 0, with_payload: WithPayload = True,
                           with_vectors: bool = False, score_threshold: float | None = None, *, timeout: float | None = None) -> QueryResponse:
        """The nearest points, of all that the tenant sees: to a vector, to one of its own points by id, which is left out itself, or to
        what a RecommendQuery of vectors and ids says. By a SparseVector of the name `using`: those with the largest product. By a
        FusionQuery or RrfQuery: the best of what `prefetch` finds, as one list."""
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
            if request.using or request.prefetch or hybrid.is_ranked(request.query):
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
        reply = await self._search_reply(collection_name, vectors, query_filter, search_params, limit, False, False, None)
        return np.asarray(reply.points.ids), np.asarray(reply.scores), np.asarray(reply.counts)

    @operation
    async def scroll(self, collection_name: str, scroll_filter: Filter | None = None, limit: int = 10, offset: str | None = None,
                     with_payload: WithPayload = True, with_vectors: bool = False, *,
                     timeout: float | None = None) -> tuple[list[Record], str | None]:
        """One page, and the offset of the next: None after the last. Pages come in the order of writing."""
        request = self._pb.ScrollRequest(collection=collection_name, filter=self._encoder.filter(scroll_filter), limit=limit,
                                         cursor=offset or "", with_payload=_some(with_payload), with_vectors=_flag(with_vectors))
        reply = await self._call(self._points.Scroll, request)
        return decode.records(reply.points, self._own, with_payload), reply.next_cursor or None

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
                                      with_payload=_some(with_payload), with_vectors=_flag(with_vectors))
        reply = await self._call(self._points.Get, request)
        return decode.records(reply, owner or self._own, with_payload)

    async def _query(self, collection: str, asked: QueryRequest) -> list[ScoredPoint]:
        """What one query finds."""
        offset, shown = asked.offset or 0, {"with_payload": _some(asked.with_payload), "with_vectors": _flag(asked.with_vector)}
        if asked.prefetch or hybrid.is_ranked(asked.query):
            request, method = await self._fuse_request(collection, asked, offset), self._points.Fuse
        else:
            request, method = await self._request(collection, asked, _limit(asked) + offset), self._points.Search
            request.collection = collection
        for name, value in shown.items():
            setattr(request, name, value)
        return decode.hits(await self._call(method, request), self._own, asked.with_payload)[0][offset:]

    async def _fuse_request(self, collection: str, asked: QueryRequest, offset: int) -> Any:
        """TypeError for prefetches that are not fused, or not one level deep."""
        prefetch = asked.prefetch if isinstance(asked.prefetch, list | tuple) else [asked.prefetch] if asked.prefetch else []
        if not (prefetch and hybrid.is_ranked(asked.query)):
            raise TypeError("prefetches are fused by a FusionQuery or an RrfQuery, which need some")
        for each in prefetch:
            _refuse(each, ("prefetch", "lookup_from"))
        searches = [await self._request(collection, each, _limit(each)) for each in prefetch]
        return self._pb.FuseRequest(collection=collection, searches=searches, queries=len(searches), k=max(each.k for each in searches),
                                    limit=_limit(asked) + offset, filter=self._encoder.filter(asked.filter),
                                    score_threshold=asked.score_threshold, **hybrid.how(self._pb, asked.query))

    async def _request(self, collection: str, asked: QueryRequest | Prefetch, k: int) -> Any:
        """A SearchRequest of one query, but for the collection, and what is to be shown of hits."""
        query = getattr(asked.query, "nearest", asked.query)
        if hasattr(query, "indices"):
            what = {"sparse": hybrid.message(self._pb, asked.using or hybrid.DENSE, [query])}
            return self._search_request(what, asked.filter, asked.params, k, asked.score_threshold)
        if asked.using:
            raise TypeError(f"the query for vectors {asked.using!r} is a SparseVector: {ONE_VECTOR}")
        vector, named = await self._vector(collection, query)
        return self._search_request(self._dense(vector), _without(asked.filter, named), asked.params, k, asked.score_threshold)

    def _dense(self, vectors: Any) -> dict[str, Any]:
        data, dtype, queries = self._encoder.rows(vectors)
        return {"queries": queries, "vectors": data, "dtype": dtype}

    def _search_request(self, what: dict[str, Any], query_filter: Any, params: Any, k: int, threshold: float | None, **more: Any) -> Any:
        if params is not None:
            _refuse(params, _NO_PARAMS)
        return self._pb.SearchRequest(k=k, filter=self._encoder.filter(query_filter), exact=bool(getattr(params, "exact", False)),
                                      recall=getattr(params, "recall", None), score_threshold=threshold, **what, **more)

    async def _vector(self, collection: str, query: Any) -> tuple[Any, list[Any]]:
        """The vector that a query means, and the ids of points that it names."""
        query = getattr(query, "nearest", query)
        if isinstance(query, np.ndarray | list | tuple):
            vector = np.asarray(query)
            if vector.ndim != 1:
                raise ValueError(f"one query is one vector [dim], not {vector.ndim} dimensions: many go to query_batch_points or search_columns")
            return vector, []
        if isinstance(query, int | str | UUID):
            query = [query]
            return (await self._vectors_of(collection, query))[0], query
        if type(query).__name__ == "RecommendQuery":
            return await self._recommended(collection, query.recommend)
        raise TypeError(f"a query is a vector, the id of a point, or a RecommendQuery, not {type(query).__name__}: "
                        "for points without a query, scroll")

    async def _recommended(self, collection: str, given: Any) -> tuple[Any, list[Any]]:
        """The mean of what is positive, moved on by what it is away from the mean of what is negative."""
        if getattr(given.strategy, "value", given.strategy) not in (None, "average_vector"):
            raise TypeError("recommendations are by the strategy average_vector")
        positive, negative = (list(each or ()) for each in (given.positive, given.negative))
        if not positive:
            raise ValueError("a recommendation needs a positive example")
        named = [each for each in positive + negative if isinstance(each, int | str | UUID)]
        vectors = iter(await self._vectors_of(collection, named))
        likes, dislikes = ([next(vectors) if isinstance(each, int | str | UUID) else np.asarray(each, np.float32) for each in part]
                           for part in (positive, negative))
        mean = np.mean(likes, axis=0, dtype=np.float32)
        return (2 * mean - np.mean(dislikes, axis=0, dtype=np.float32) if dislikes else mean), named

    async def _vectors_of(self, collection: str, ids: list[Any]) -> list[np.ndarray]:
        records = await self._retrieve(collection, ids, False, True, "") if ids else []
        found = {str(record.id): record.vector for record in records}
        spelt = [str(UUID(each)) if isinstance(each, str) else str(each) for each in ids]
        missing = next((each for each, name in zip(ids, spelt, strict=True) if name not in found), None)
        if missing is not None:
            raise refused("NOT_FOUND", f"there is no point {missing!r}", Reason("NOT_FOUND", {}))
        return [found[name] for name in spelt]

    async def _search(self, collection: str, query: Any, query_filter: Any, params: Any, k: int, with_payload: Any, with_vectors: Any,
                      threshold: float | None) -> list[list[ScoredPoint]]:
        reply = await self._search_reply(collection, query, query_filter, params, k, _some(with_payload), _flag(with_vectors), threshold)
        return decode.hits(reply, self._own, with_payload)

    async def _search_reply(self, collection: str, query: Any, query_filter: Any, params: Any, k: int, with_payload: bool,
                            with_vectors: bool, threshold: float | None) -> Any:
        request = self._search_request(self._dense(query), query_filter, params, k, threshold, collection=collection, with_payload=with_payload,
                                       with_vectors=with_vectors)
        return await self._call(self._points.Search, request)


def _without(wanted: Filter | None, named: list[PointId]) -> Filter | None:
    """The filter, for points other than those."""
    return Filter(must=wanted, must_not=HasIdCondition(named)) if named else wanted


def _limit(asked: QueryRequest | Prefetch) -> int:
    """10 where none is given."""
    return 10 if asked.limit is None else asked.limit


def _some(with_payload: Any) -> bool:
    """Whether payloads are to come."""
    return with_payload is not None and with_payload is not False


def _flag(with_vectors: Any) -> bool:
    """Of with_vectors. TypeError for names of vectors."""
    if isinstance(with_vectors, bool | None):
        return bool(with_vectors)
    raise TypeError("with_vectors is True or False: a point has one vector, without a name")


def _refuse(given: Any, names: tuple[str, ...]) -> None:
    """TypeError when one of them is set."""
    asked = [name for name in names if getattr(given, name, None)]
    if asked:
        raise TypeError(unknown_argument(type(given).__name__, asked))
