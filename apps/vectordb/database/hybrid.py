"""Searches by sparse vectors, and several searches fused into one list. As other reads: of what the tenant sees, and waiting for none."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from . import filters, fusion, vectors
from .errors import Invalid
from .fusion import Fusion
from .model import SEARCHES_MAX, Hits, Results, Search, Sparse, SparseColumns
from .parties import Party
from .queries import Nearest
from .reads import ReadOperations, Wanted, check_size, settings
from .sparse.columns import checked

WEIGHT_MAX = 1e6  # of a list that is fused: larger ones would make infinite scores
Finder = Callable[[bool], Nearest]  # told whether it is asked again, since what it found was deleted meanwhile


class HybridOperations(ReadOperations):
    def search_sparse(self, tenant: str, using: str, query: Sparse | Sequence[Sparse], k: int, filter: Wanted = None, *,
                      with_payload: bool = True) -> Hits | list[Hits]:
        """The k points, of those that the tenant sees, whose sparse vectors `using` have the largest scores (SparseParams); only points that
        have an index of the query. Exact. One query, or several and a list of Hits.

        NotFound for the tenant; Invalid for a query that is no sparse vector, a name that the collection has not, and as search();
        QuotaExceeded.
        """
        single = hasattr(query, "indices")  # as the client's have, too
        queries: Any = [query] if single else query
        found = list(self.search_sparse_columns(tenant, using, queries, k, filter, with_payload=with_payload))
        return found[0] if single else found

    def search_sparse_columns(self, tenant: str, using: str, queries: Sequence[Sparse] | SparseColumns, k: int, filter: Wanted = None, *,
                              with_payload: bool = True) -> Results:
        """As search_sparse(), of a batch."""
        find = self._sparse_finder(using, queries, filters.parse(filter))
        count = len(queries.sizes if isinstance(queries, SparseColumns) else queries)
        check_size(count, k)
        return self._answer(tenant, count, lambda party: find(party, k), with_payload)

    def fuse(self, tenant: str, searches: Sequence[Search], k: int, by: Fusion = "rrf", filter: Wanted = None, *, with_payload: bool = True,
             rrf_k: int = fusion.RRF_K, weights: Sequence[float] | None = None) -> Hits:
        """The k best of several searches, by their ranks (rrf) or their scores (dbsf): see fusion.py.

        filter: for all the searches, beside their own. Distances are negative fused scores. NotFound for the tenant; Invalid as search() and
        search_sparse(), for no searches or more than SEARCHES_MAX, for rrf_k or weights that are none; QuotaExceeded.
        """
        return next(iter(self.fuse_columns(tenant, searches, k, by, filter, with_payload=with_payload, rrf_k=rrf_k, weights=weights)))

    def fuse_columns(self, tenant: str, searches: Sequence[Search], k: int, by: Fusion = "rrf", filter: Wanted = None, *,
                     with_payload: bool = True, rrf_k: int = fusion.RRF_K, weights: Sequence[float] | None = None) -> Results:
        """As fuse()."""
        if by not in get_args(Fusion):
            raise Invalid(f"searches are fused by one of {', '.join(get_args(Fusion))}, not {by!r}")
        if not 1 <= len(searches) <= SEARCHES_MAX:
            raise Invalid(f"1 to {SEARCHES_MAX} searches are fused, not {len(searches)}")
        _check_ranks(rrf_k, weights, len(searches))
        check_size(1, k)
        wanted = filters.parse(filter)
        finders = [self._finder(search, wanted) for search in searches]

        def find(party: Party) -> Finder:
            parts = [finder(party) for finder in finders]
            return lambda again: _fused([part(again) for part in parts], k, by, rrf_k, weights)

        return self._answer(tenant, len(searches), find, with_payload)

    def _finder(self, search: Search, wanted: filters.Filter | None) -> Callable[[Party], Callable[[bool], fusion.Ranked]]:
        """Checks a search; what makes of a party what does it."""
        check_size(1, search.k)
        both = _both(wanted, filters.parse(search.filter))
        if hasattr(search.query, "indices"):
            queries = search.query if isinstance(search.query, SparseColumns) else [search.query]
            sparse = self._sparse_finder(search.using, queries, both)
            return lambda party: lambda again: _ranked(sparse(party, search.k)(again), "ip", search.score_min)
        if search.using:
            raise Invalid(f"the query for sparse vectors {search.using!r} is a sparse vector")
        query = vectors.checked(self.config, search.query, 1)[None]
        how = settings(search.exact, None, None, search.recall)
        metric = self.config.metric
        return lambda party: lambda again: _ranked(self._queries.nearest(party, query, search.k, both, how), metric, search.score_min)

    def _sparse_finder(self, using: str, queries: Sequence[Sparse] | SparseColumns,
                       wanted: filters.Filter | None) -> Callable[[Party, int], Finder]:
        """Checks queries; what makes of a party and k what does them."""
        params = self.config.sparse_params(using)
        columns = checked(using, params, queries)
        contents = self._contents
        index = contents.sparse[using]

        def nearest(party: Party, k: int, again: bool) -> Nearest:
            version = -1 if again else contents.version
            seen = index.seen(party.number, party.scope, version, lambda: self._queries.matching(party, None))
            among = None if wanted is None else self._queries.matching(party, wanted)
            ends = np.cumsum(columns.sizes, dtype=np.int64).tolist()
            found = [seen.best(params, columns.indices[end - size:end], columns.values[end - size:end], k, among)
                     for size, end in zip(columns.sizes.tolist(), ends, strict=True)]
            return Nearest.joined([(ids, -scores) for ids, scores in found])

        return lambda party, k: lambda again: nearest(party, k, again)

    def _answer(self, tenant: str, queries: int, find: Callable[[Party], Finder], with_payload: bool) -> Results:
        """Admits the tenant, and names what is found."""
        party = self._admit(tenant, queries)
        began = time.perf_counter()
        results = self._named(find(party), with_payload)
        self._contents.tallies.searched(party.number, queries, len(results.owner), time.perf_counter() - began)
        return results


def _both(one: filters.Filter | None, other: filters.Filter | None) -> filters.Filter | None:
    return filters.Filter(must=[one, other]) if one and other else one or other


def _check_ranks(rrf_k: Any, weights: Sequence[float] | None, searches: int) -> None:
    if isinstance(rrf_k, bool) or not isinstance(rrf_k, int) or not 1 <= rrf_k <= 2**31:
        raise Invalid(f"rrf_k is an integer above 0, not {rrf_k!r}")
    if weights is not None and not (len(weights) == searches and all(abs(weight) <= WEIGHT_MAX for weight in weights)):
        raise Invalid(f"there is a weight for each of the {searches} searches, from -{WEIGHT_MAX:g} to {WEIGHT_MAX:g}: not {list(weights)}")


def _ranked(found: Nearest, metric: str, score_min: float | None) -> fusion.Ranked:
    """With scores, of which larger is better: for l2 negative distances."""
    distances = found.distances.astype(np.float64)
    scores = 1 - distances if metric == "cosine" else -np.sqrt(distances) if metric == "l2" else -distances
    if score_min is None:
        return found.ids, scores
    reached = scores >= (-score_min if metric == "l2" else score_min)
    return found.ids[reached], scores[reached]


def _fused(lists: list[fusion.Ranked], k: int, by: Fusion, rrf_k: int, weights: Sequence[float] | None) -> Nearest:
    ids, scores = fusion.by_ranks(lists, rrf_k, weights) if by == "rrf" else fusion.by_scores(lists)
    return Nearest.joined([(ids[:k], -scores[:k])])
