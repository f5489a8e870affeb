"""What is searched: a data set, its size classes and its exact answers, as arrays in a folder, so that every process reads the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from apps.vectordb.data import CASES, Dataset

K = 10
TIE = 1e-5  # distances that differ by less than this part are equal: copies of a vector, and rounding


@dataclass
class Corpus:
    """Ids of vectors are their row numbers. `owners` and the pairs of `grant_ids` and `grant_tenants` say who sees them.

    `tenants` and `kth` have a row for each of CASES: who asks a query, and how far the exact K-th nearest is that it sees (squared L2).
    """

    vectors: np.ndarray        # float32[n, d]; of unit length under cosine
    owners: np.ndarray         # uint32[n]
    grant_ids: np.ndarray      # uint64[g]
    grant_tenants: np.ndarray  # uint32[g]
    queries: np.ndarray        # float32[q, d]
    tenants: np.ndarray        # uint32[2, q]
    kth: np.ndarray            # float64[2, q]
    edges: np.ndarray          # int64[c]: size classes are up to the first, ... from the last on
    cosine: np.ndarray         # bool[]

    @classmethod
    def of(cls, data: Dataset, edges: Sequence[int] | None = None) -> Corpus:
        """With `edges` of size classes, or else those by which two classes have a third of the tenants each, and the last the largest 5 %."""
        if edges is None:
            edges = np.quantile(data.sizes[data.sizes > 0], [1 / 3, 2 / 3, 0.95]).astype(np.int64)
        tenants = np.stack([data.query_tenants(case) for case in CASES])
        found = cls(data.vectors, data.owners, data.grant_ids, data.grant_tenants, data.queries, tenants,
                    np.empty(tenants.shape), np.asarray(edges), np.asarray(data.metric == "cosine"))
        found.kth[:] = [_kth(found, each) for each in tenants]
        return found

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        return cls(**{each.name: np.load(folder / f"{each.name}.npy") for each in fields(cls)})

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for each in fields(self):
            np.save(folder / f"{each.name}.npy", getattr(self, each.name))

    @property
    def metric(self) -> str:
        return "cosine" if self.cosine else "l2"

    @property
    def ids(self) -> np.ndarray:
        return np.arange(len(self.vectors), dtype=np.uint64)

    @cached_property
    def lists(self) -> dict[int, np.ndarray]:
        """Each tenant's row numbers, ascending: int64 arrays."""
        tenants = np.concatenate([self.owners, self.grant_tenants])
        ids = np.concatenate([np.arange(len(self.owners)), self.grant_ids.astype(np.int64)])
        order = np.lexsort((ids, tenants))
        names, starts = np.unique(tenants[order], return_index=True)
        return dict(zip(names.tolist(), np.split(ids[order], starts[1:]), strict=True))

    def classes(self) -> list[str]:
        """Names of the size classes."""
        low = [0, *self.edges.tolist()]
        return [f"{first:,} to {last:,}" for first, last in zip(low, low[1:], strict=False)] + [f"{low[-1]:,} and more"]

    def class_of(self, case: str) -> np.ndarray:
        """The size class of each query's tenant."""
        sizes = [len(self.lists[tenant]) for tenant in self.tenants[CASES.index(case)].tolist()]
        return np.searchsorted(self.edges, sizes, side="right")

    def recall(self, case: str, query: int, found: Sequence[int]) -> float:
        """Recall@K of what a query found. Raises ValueError when something is in it twice, or is not the tenant's to see."""
        ids = np.array([each for each in found if each >= 0], dtype=np.int64)
        visible, kth = self.lists[int(self.tenants[CASES.index(case), query])], self.kth[CASES.index(case), query]
        if len(np.unique(ids)) != len(ids) or not np.isin(ids, visible).all():
            raise ValueError(f"query {query} found what its tenant may not see, or something twice")
        right = (_distances(self.vectors[ids], self.queries[query]) <= kth + TIE * max(kth, TIE)).sum()
        expected = min(K, len(visible))
        return min(int(right), expected) / expected


def _kth(corpus: Corpus, tenants: np.ndarray) -> np.ndarray:
    """Distances of the K-th nearest that each query's tenant sees, or of the last when it sees fewer."""
    kth = np.empty(len(tenants))
    for tenant in np.unique(tenants):
        asked, mine = np.flatnonzero(tenants == tenant), corpus.vectors[corpus.lists[int(tenant)]]
        rough = np.einsum("nd,nd->n", mine, mine)[:, None] - 2 * mine @ corpus.queries[asked].T
        near = np.argpartition(rough, min(3 * K, len(mine)) - 1, axis=0)[:3 * K]
        for column, query in enumerate(asked):
            kth[query] = np.sort(_distances(mine[near[:, column]], corpus.queries[query]))[:K][-1]
    return kth


def _distances(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    return ((vectors.astype(np.float64) - query) ** 2).sum(1)
