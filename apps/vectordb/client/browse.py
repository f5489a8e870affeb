"""How a tenant looks at its points by their payloads, by qdrant_client's names."""
from __future__ import annotations

from typing import Any

from . import decode
from .models import FacetResponse, FacetValueHit, Filter, GroupsResult, PointGroup, QueryRequest, SearchParams, WithPayload
from .operations import operation
from .reads import ReadsMixin


class BrowseMixin(ReadsMixin):
    @operation
    async def facet(self, collection_name: str, key: str, facet_filter: Filter | None = None, limit: int = 10, exact: bool = True, *,
                    timeout: float | None = None) -> FacetResponse:
        """The most frequent values at a path, and how many of the points that the tenant sees have each; always exact."""
        request = self._pb.FacetRequest(collection=collection_name, key=key, filter=self._encoder.filter(facet_filter), limit=limit)
        reply = await self._call(self._points.Facet, request)
        return FacetResponse(list(map(FacetValueHit, map(decode.value, reply.values), reply.counts)))

    @operation
    async def query_points_groups(self, collection_name: str, group_by: str, query: Any, using: str | None = None,
                                  query_filter: Filter | None = None, search_params: SearchParams | None = None, limit: int = 10, group_size: int = 3,
                                  with_payload: WithPayload = True, with_vectors: bool = False, score_threshold: float | None = None, *,
                                  timeout: float | None = None) -> GroupsResult:
        """The nearest points, group_size of each of `limit` texts and integers at the path group_by, the nearest groups first."""
        asked = QueryRequest(query, using, filter=query_filter, params=search_params, score_threshold=score_threshold)
        search = await self._request(collection_name, asked, limit, self._encoder.shown(with_payload, with_vectors))
        request = self._pb.SearchGroupsRequest(collection=collection_name, queries=1, k=limit * group_size, search=search, group_by=group_by,
                                               group_size=group_size)
        reply = await self._call(self._points.SearchGroups, request)
        return GroupsResult(list(map(PointGroup, decode.hits(reply.hits, self._own), map(decode.value, reply.groups))))
