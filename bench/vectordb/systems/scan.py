"""Exact scans of a tenant's posting list, the best that numpy and faiss let one write: by id in one shared array, or of a copy for each tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np

from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.access import Access, Postings
from bench.vectordb.systems.base import SLACK, System


def flat(corpus: Corpus) -> faiss.IndexFlat:
    return faiss.IndexFlat(corpus.vectors.shape[1], faiss.METRIC_INNER_PRODUCT if corpus.metric == "cosine" else faiss.METRIC_L2)


class _Shared(System):
    """One array of vectors, posting lists, access sets. Rows of deleted vectors stay as holes, which no list names."""

    def build(self, corpus: Corpus) -> None:
        self._lists, self._access = Postings(corpus), Access(corpus)

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        for tenant, mine in self._access.grant(ids, tenants).items():
            self._lists.add(tenant, mine)

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        for tenant, mine in self._access.revoke(ids, tenants).items():
            self._lists.remove(tenant, mine)

    def delete(self, ids: np.ndarray) -> None:
        for tenant, mine in self._access.forget(ids).items():
            self._lists.remove(tenant, mine)


class ByIdFaiss(_Shared):
    modes = {"scan by id (faiss)": (None,)}

    def build(self, corpus: Corpus) -> None:
        super().build(corpus)
        self._index = flat(corpus)
        self._index.add(corpus.vectors)

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorArray(self._lists.of(tenant)))
        return self._index.search(query, k, params=chosen)[1][0]

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._index.add(vectors)
        self.grant(ids, owners)


class ByIdNumpy(_Shared):
    modes = {"scan by id (numpy)": (None,)}

    def build(self, corpus: Corpus) -> None:
        super().build(corpus)
        count, dim = corpus.vectors.shape
        self._vectors = np.empty((int(count * SLACK), dim), np.float32)
        self._vectors[:count] = corpus.vectors
        self._halves = np.zeros(len(self._vectors), np.float32)
        self._halves[:count] = halves(corpus.vectors)

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        mine = self._lists.of(tenant)
        scores = self._vectors.take(mine, axis=0) @ query[0]
        scores -= self._halves.take(mine)
        return mine[greatest(scores, k)]

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._vectors[ids], self._halves[ids] = vectors, halves(vectors)
        self.grant(ids, owners)


class CopyFaiss(System):
    """An IndexFlat for each tenant: every vector as often as it is granted."""

    modes = {"scan of a copy (faiss)": (None,)}

    def build(self, corpus: Corpus) -> None:
        self._ids = {tenant: ids.copy() for tenant, ids in corpus.lists.items()}
        self._indexes: dict[int, Any] = {}
        for tenant, ids in self._ids.items():
            self._indexes[tenant] = flat(corpus)
            self._indexes[tenant].add(corpus.vectors[ids])

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        found = self._indexes[tenant].search(query, k)[1][0]
        return self._ids[tenant][found[found >= 0]]


class CopyNumpy(System):
    """The same as a matrix for each tenant: one product of a matrix and a vector."""

    modes = {"scan of a copy (numpy)": (None,)}

    def build(self, corpus: Corpus) -> None:
        self._of = {tenant: (ids.copy(), corpus.vectors[ids], halves(corpus.vectors[ids])) for tenant, ids in corpus.lists.items()}

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        ids, vectors, half = self._of[tenant]
        return ids[greatest(vectors @ query[0] - half, k)]


def halves(vectors: np.ndarray) -> np.ndarray:
    """Half the squared lengths: x.q less half of x.x orders by L2 distance, and unit vectors by cosine."""
    return np.einsum("nd,nd->n", vectors, vectors) / 2


def greatest(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k greatest, greatest first."""
    if k < len(scores):
        best = scores.argpartition(len(scores) - k)[-k:]
        return best[scores[best].argsort()[::-1]]
    return scores.argsort()[::-1]
