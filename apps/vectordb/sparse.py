"""Between messages of sparse vectors and fused searches, and what the database takes and gives: translate.py's other half."""
from __future__ import annotations

from typing import Any

import numpy as np

from . import translate
from .database import Search, SparseParams
from .database.errors import Invalid
from .database.model import SparseColumns

MODIFIERS = {0: "none", 1: "idf", 2: "bm25"}
FUSIONS = {0: "rrf", 1: "rrf", 2: "dbsf"}
"""What enums' numbers mean. Others are left to the database to refuse."""


def settings(config: Any) -> dict[str, dict[str, Any]]:
    """Of a CollectionConfig message, for create_collection(). Invalid for a name given twice."""
    found = {each.name: {"modifier": MODIFIERS.get(each.modifier), **{name: getattr(each, name) for name in ("k1", "b") if each.HasField(name)}}
             for each in config.sparse}
    return _once(found, config.sparse)


def params(pb: Any, by_name: dict[str, SparseParams]) -> list[Any]:
    """The other way."""
    return [pb.SparseParams(name=name, modifier=translate.number(MODIFIERS, each.modifier), k1=each.k1, b=each.b) for name, each in by_name.items()]


def batch(messages: Any) -> dict[str, SparseColumns]:
    """Of SparseVectors messages, by name. Invalid for a name given twice."""
    return _once({each.name: columns(each) for each in messages}, messages)


def _once(found: dict[str, Any], messages: Any) -> dict[str, Any]:
    if len(found) < len(messages):
        raise Invalid("sparse vectors of one name are given twice")
    return found


def columns(message: Any) -> SparseColumns:
    """As they are, which the database checks."""
    return SparseColumns(np.asarray(message.sizes, np.uint32), np.asarray(message.indices, np.uint32), np.asarray(message.values, np.float32))


def queries(request: Any) -> SparseColumns:
    """Of a SearchRequest. Invalid when there are dense ones too, or not as many as it says."""
    found = columns(request.sparse)
    if len(request.vectors) or len(request.values) or request.strategy:
        raise Invalid("a search is by dense vectors or by sparse ones, of which each is a query: fuse two searches")
    if len(found.sizes) != (request.queries or 1):
        raise Invalid(f"{len(found.sizes)} sparse vectors are not {request.queries or 1} queries")
    return found


def searches(request: Any) -> list[Search]:
    """Of a FuseRequest. Invalid when they are not as many, or ask for more, than it says."""
    if len(request.searches) != request.queries or max((each.k for each in request.searches), default=0) != request.k:
        raise Invalid("queries and k of a fused search are how many searches there are and the largest k of them")
    return [_search(each) for each in request.searches]


def _search(request: Any) -> Search:
    if (request.queries or 1) != 1 or request.collection or request.strategy:
        raise Invalid("each of the searches that are fused has one query, no examples, and no collection of its own")
    how = {"filter": translate.optional_filter(request), "exact": request.exact,
           "score_min": request.score_threshold if request.HasField("score_threshold") else None,
           "recall": request.recall if request.HasField("recall") else None}
    if request.HasField("sparse"):
        return Search(queries(request), request.k, request.sparse.name, **how)
    return Search(translate.vectors(request, 1)[0], request.k, **how)
