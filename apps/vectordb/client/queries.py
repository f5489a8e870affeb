"""What a query means: a vector, or several examples, with the points that it names and that are no answers to it."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np

from .connection import Base
from .exceptions import refused
from .reasons import Reason

_EXAMPLES = {"DiscoverQuery": "DISCOVER", "ContextQuery": "CONTEXT"}
_ID = int | str | UUID


def strategy(query: Any) -> str | None:
    """By which the service uses a query's examples; None for a query that is one vector."""
    if type(query).__name__ != "RecommendQuery":
        return _EXAMPLES.get(type(query).__name__)
    name = getattr(query.recommend.strategy, "value", query.recommend.strategy) or "average_vector"
    return None if name == "average_vector" else str(name).upper()


class QueriesMixin(Base):
    async def _dense(self, collection: str, query: Any) -> tuple[dict[str, Any], list[Any]]:
        """(parts of a SearchRequest, ids that the query names). ValueError and TypeError for what is no query."""
        by = strategy(query)
        if by is None:
            vector, named = await self._vector(collection, query)
            return self._rows(vector), named
        if by in ("DISCOVER", "CONTEXT"):
            target = [] if by == "CONTEXT" else [query.discover.target]
            pairs = query.context if by == "CONTEXT" else query.discover.context
            listed = pairs if isinstance(pairs, list | tuple) else [pairs] if pairs else []
            positives, examples = 0, target + [each for pair in listed for each in (pair.positive, pair.negative)]
        else:
            positive, negative = (list(each or ()) for each in (query.recommend.positive, query.recommend.negative))
            positives, examples = len(positive), positive + negative
        if not examples:
            raise ValueError("a query by examples needs a vector or the id of a point")
        vectors, named = await self._examples(collection, examples)
        return {**self._rows(np.stack(vectors)), "strategy": getattr(self._pb, by), "positives": positives}, named

    def _rows(self, vectors: Any) -> dict[str, Any]:
        data, dtype, queries = self._encoder.rows(vectors)
        return {"queries": queries, "vectors": data, "dtype": dtype}

    async def _vector(self, collection: str, query: Any) -> tuple[Any, list[Any]]:
        """The vector that a query means, and the ids of points that it names."""
        query = getattr(query, "nearest", query)
        if isinstance(query, np.ndarray | list | tuple):
            vector = np.asarray(query)
            if vector.ndim != 1:
                raise ValueError(f"one query is one vector [dim], not {vector.ndim} dimensions: many go to query_batch_points or search_columns")
            return vector, []
        if isinstance(query, _ID):
            vectors, named = await self._examples(collection, [query])
            return vectors[0], named
        if type(query).__name__ == "RecommendQuery":
            return await self._average(collection, query.recommend)
        raise TypeError(f"a query is a vector, the id of a point, a RecommendQuery, DiscoverQuery or ContextQuery, not {type(query).__name__}: "
                        "for points without a query, scroll")

    async def _average(self, collection: str, given: Any) -> tuple[Any, list[Any]]:
        """The mean of what is positive, moved on by what it is away from the mean of what is negative."""
        positive, negative = (list(each or ()) for each in (given.positive, given.negative))
        if not positive:
            raise ValueError("a recommendation by average_vector needs a positive example")
        vectors, named = await self._examples(collection, positive + negative)
        likes, dislikes = vectors[:len(positive)], vectors[len(positive):]
        mean = np.mean(likes, axis=0, dtype=np.float32)
        return (2 * mean - np.mean(dislikes, axis=0, dtype=np.float32) if dislikes else mean), named

    async def _examples(self, collection: str, examples: Sequence[Any]) -> tuple[list[np.ndarray], list[Any]]:
        """(vectors, those that are ids of own points) of vectors and ids."""
        named = [each for each in examples if isinstance(each, _ID)]
        found = iter(await self._vectors_of(collection, named))
        return [next(found) if isinstance(each, _ID) else np.asarray(each, np.float32) for each in examples], named

    async def _vectors_of(self, collection: str, ids: list[Any]) -> list[np.ndarray]:
        records = await self._retrieve(collection, ids, False, True, "") if ids else []
        found = {str(record.id): record.vector for record in records}
        spelt = [str(UUID(each)) if isinstance(each, str) else str(each) for each in ids]
        missing = next((each for each, name in zip(ids, spelt, strict=True) if name not in found), None)
        if missing is not None:
            raise refused("NOT_FOUND", f"there is no point {missing!r}", Reason("NOT_FOUND", {}))
        return [found[name] for name in spelt]

    async def _retrieve(self, collection: str, ids: Sequence[Any], with_payload: Any, with_vectors: bool, owner: str) -> Any:
        """Records of points by id."""
        raise NotImplementedError
