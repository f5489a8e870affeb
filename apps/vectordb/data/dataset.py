"""One shape for every data set: vectors, who owns and who may see each, held-out queries, and the exact answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Case = Literal["correlated", "uncorrelated"]
CASES: tuple[Case, ...] = get_args(Case)
Metric = Literal["l2", "cosine"]
NO_ID = np.uint64(2**64 - 1)  # in Truth.ids, where a tenant sees fewer than k vectors

MARGIN = 16  # more candidates than answers are compared exactly: a matrix product rounds


class Truth(NamedTuple):
    """Exact answers, nearest first: ids u64 [q, k], distances f32 [q, k] (squared for l2, 1 - cos for cosine; inf beside NO_ID)."""

    ids: NDArray[np.uint64]
    distances: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Dataset:
    """n vectors of d dimensions, numbered 0 … n-1, seen by `len(tenant_names)` tenants.

    A vector is seen by its owner and by the tenants of its (grant_ids, grant_tenants) pairs, which never repeat the owner.
    Queries are held out: they are not among the vectors. Each is asked once for a tenant to whom it belongs (correlated)
    and once for one drawn without a look at the query (uncorrelated).
    """

    name: str
    metric: Metric
    vectors: NDArray[np.float32]  # [n, d]; unit length for cosine
    owners: NDArray[np.uint32]  # [n]
    grant_ids: NDArray[np.uint64]  # [g]
    grant_tenants: NDArray[np.uint32]  # [g]
    tenant_names: tuple[str, ...]
    queries: NDArray[np.float32]  # [q, d]
    correlated: NDArray[np.uint32]  # [q]
    uncorrelated: NDArray[np.uint32]  # [q]
    texts: tuple[str, ...] = ()  # [n], or none

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    @cached_property
    def ids(self) -> NDArray[np.uint64]:
        return np.arange(len(self), dtype=np.uint64)

    def tenant(self, name: str) -> int:
        """Its number. KeyError when there is none of this name."""
        return self._numbers[name]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.tenant_names)}

    def visible(self, tenant: int) -> NDArray[np.uint64]:
        """The ids that this tenant sees, ascending."""
        first, ids = self._access
        return ids[first[tenant] : first[tenant + 1]]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many vectors each tenant sees."""
        return np.diff(self._access[0])

    @cached_property
    def _access(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        ids = np.concatenate([self.ids, self.grant_ids])
        tenants = np.concatenate([self.owners, self.grant_tenants])
        order = np.lexsort((ids, tenants))
        counts = np.bincount(tenants, minlength=len(self.tenant_names))
        return np.concatenate([[0], np.cumsum(counts)]), ids[order]

    def query_tenants(self, case: Case) -> NDArray[np.uint32]:
        return self.correlated if case == "correlated" else self.uncorrelated

    def distances(self, queries: NDArray[np.float32], ids: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Exact distances [q, m] from queries [q, d] to the vectors of ids [q, m]."""
        vectors = self.vectors[ids]
        if self.metric == "cosine":
            return 1 - np.einsum("qd,qmd->qm", queries, vectors)
        return ((queries[:, None] - vectors) ** 2).sum(axis=2)

    def truth(self, case: Case, k: int = 10) -> Truth:
        """The k nearest vectors that each query's tenant sees. One matrix product a tenant; kept for the next time."""
        if (case, k) not in self._truths:
            self._truths[case, k] = self._search_all(self.query_tenants(case), k)
        return self._truths[case, k]

    @cached_property
    def _truths(self) -> dict[tuple[Case, int], Truth]:
        return {}

    def _search_all(self, tenants: NDArray[np.uint32], k: int) -> Truth:
        ids = np.full((len(tenants), k), NO_ID)
        distances = np.full((len(tenants), k), np.inf, np.float32)
        for tenant in np.unique(tenants):
            asked = np.flatnonzero(tenants == tenant)
            near = self._candidates(asked, self.visible(int(tenant)), k + MARGIN)
            exact = self.distances(self.queries[asked], near)
            order = np.argsort(exact, axis=1)[:, :k]
            ids[asked, : order.shape[1]] = np.take_along_axis(near, order, axis=1)
            distances[asked, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
        return Truth(ids, distances)

    def _candidates(self, asked: NDArray[np.int64], seen: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
        """For each of these queries the nearest `count` of the ids seen, by one matrix product, or all if they are fewer."""
        if count >= len(seen):
            return np.tile(seen, (len(asked), 1))
        vectors = self.vectors[seen]
        far = -2 * self.queries[asked] @ vectors.T
        if self.metric == "l2":
            far += np.einsum("md,md->m", vectors, vectors)
        return seen[np.argpartition(far, count, axis=1)[:, :count]]

    def recall(self, case: Case, found: NDArray[np.uint64]) -> NDArray[np.float64]:
        """For each query, the share of its k true answers among `found` [q, k] (rows padded with NO_ID).

        Another vector just as far as the k-th true answer counts too: equal texts have equal vectors.
        """
        truth = self.truth(case, found.shape[1])
        real = found != NO_ID
        distances = self.distances(self.queries, np.where(real, found, 0))
        wanted = truth.ids != NO_ID
        farthest = np.max(truth.distances, axis=1, where=wanted, initial=0)[:, None]
        among = (found[:, :, None] == truth.ids[:, None, :]).any(axis=2)
        hits = real & (among | np.isclose(distances, farthest, rtol=1e-5, atol=1e-6))
        return hits.sum(axis=1) / np.maximum(wanted.sum(axis=1), 1)


