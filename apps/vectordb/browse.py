"""The part of Points that looks at payloads, and at several examples at once: facets, groups, orders, payload indexes."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import selection, sparse, translate
from .database import Results
from .database.errors import Invalid, NotFound
from .database.exploring import grouped
from .servicer import Servicer

STRATEGIES = {1: "best_score", 2: "sum_scores", 3: "discover", 4: "context"}
"""What an enum's numbers mean."""


class Browse(Servicer):
    METHODS = ("Facet", "SearchGroups", "CreateIndex", "DropIndex", "ListIndexes")

    def Facet(self, tenant: str, request: Any) -> Any:
        found = self._open(tenant, request.collection).facet(tenant, request.key, translate.optional_filter(request), limit=request.limit)
        return self._pb.FacetReply(values=[self._value(each.value) for each in found], counts=[each.count for each in found])

    def SearchGroups(self, tenant: str, request: Any) -> Any:
        asked = request.search
        collection, groups = self._open(tenant, request.collection), []
        if (asked.queries or 1) > 1 and not asked.strategy:
            raise Invalid("a search of groups has one query")
        if (request.queries, request.k) != (1, asked.k * request.group_size):
            raise Invalid("a search of groups says queries = 1 and k = groups * group_size")

        def search(tenant: str, asked: Any) -> Any:
            metric = self._metric(collection, asked)
            values, hits = grouped(lambda k, wanted: self._searched(tenant, collection, asked, k, wanted, True)[0],
                                   request.group_by, asked.k, request.group_size, translate.optional_filter(asked))
            groups[:] = values
            if not asked.with_payload:
                hits.payloads = None
            return self._found(search, tenant, collection, asked, hits, metric)

        return self._pb.SearchGroupsReply(hits=search(tenant, asked), groups=[self._value(each) for each in groups])

    def CreateIndex(self, tenant: str, request: Any) -> Any:
        self._open(tenant, request.collection).create_payload_index(tenant, request.key, request.schema)
        return self._pb.Empty()

    def DropIndex(self, tenant: str, request: Any) -> Any:
        self._open(tenant, request.collection).delete_payload_index(tenant, request.key)
        return self._pb.Empty()

    def ListIndexes(self, tenant: str, request: Any) -> Any:
        found = self._open(tenant, request.collection).payload_indexes(tenant)
        indexes = [self._pb.IndexRequest(key=each.key, schema=each.schema) for each in found]
        return self._pb.IndexList(indexes=indexes, points=[each.points for each in found])

    def _searched(self, tenant: str, collection: Any, request: Any, k: int, wanted: Any, with_payload: bool) -> tuple[Results, str]:
        """(hits, what their distances are) of a SearchRequest, those with a score that it wants."""
        metric = self._metric(collection, request)
        if request.HasField("sparse"):
            found = collection.search_sparse_columns(tenant, request.sparse.name, sparse.queries(request), k, wanted, with_payload=with_payload)
        elif request.strategy:
            vectors = translate.vectors(request, request.queries or 1)
            found = collection.explore(tenant, STRATEGIES.get(request.strategy), vectors, k, wanted, positives=request.positives,
                                       with_payload=with_payload)
        else:
            found = collection.search_columns(
                tenant, translate.vectors(request, request.queries or 1), k, wanted, with_payload=with_payload, exact=request.exact,
                recall=request.recall if request.HasField("recall") else None, pace=self._pace(tenant))
        if request.HasField("score_threshold"):
            found = translate.near_enough(found, metric, request.score_threshold)
        return found, metric

    def _metric(self, collection: Any, request: Any) -> str:
        return "ip" if request.strategy or request.HasField("sparse") else collection.config.metric

    def _found(self, again: Callable[[str, Any], Any], tenant: str, collection: Any, request: Any, found: Results, metric: str) -> Any:
        """The SearchReply. again: the method, for when hits vanish before their vectors are read."""
        reply = self._replies.hits(found, tenant, metric, selection.chooser(request))
        if request.with_vectors:
            refs = [ref for hits in found for ref in zip(hits.owners, hits.ids, strict=True)]
            try:
                records = collection.get(tenant, refs, with_payload=False, with_vector=True)
            except NotFound:  # a hit was deleted or revoked meanwhile: the next search does not find it
                return again(tenant, request)
            reply.points.vectors, reply.points.dtype = translate.rows(records)
            translate.fill_sparse(reply.points, records)
        return reply

    def _scroll_ordered(self, tenant: str, request: Any) -> Any:
        order, start = request.order_by, request.order_by.WhichOneof("start_from")
        if request.cursor:
            raise Invalid("a page in the order of a field has no cursor: begin at the last value of the page before")
        found = self._open(tenant, request.collection).scroll_ordered(
            tenant, order.key, translate.optional_filter(request), limit=request.limit, descending=order.descending,
            start_from=getattr(order, start) if start else None, with_payload=request.with_payload, with_vector=request.with_vectors)
        points = self._replies.records([record for _, record in found], tenant, selection.chooser(request))
        return self._pb.ScrollReply(points=points, order_values=[self._value(value) for value, _ in found])

    def _value(self, value: Any) -> Any:
        """A PayloadValue."""
        if isinstance(value, bool):
            return self._pb.PayloadValue(boolean=value)
        if isinstance(value, str):
            return self._pb.PayloadValue(keyword=value)
        if value == value // 1 and -2**63 <= value < 2**63:
            return self._pb.PayloadValue(integer=int(value))
        return self._pb.PayloadValue(number=float(value))
