"""HNSW graphs: one for each tenant (hnswlib's and faiss's), or one for all with a filter. M is 16, candidates at construction 100 everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import hnswlib
import numpy as np

from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.access import Access
from bench.vectordb.systems.base import STEPS, System

LINKS, CANDIDATES = 16, 100
EFFORTS = (10, *(step for step in STEPS if step > 10), 2048, 3072, 4096)


def hnswlib_index(corpus: Corpus, room: int) -> hnswlib.Index:
    index = hnswlib.Index("ip" if corpus.metric == "cosine" else "l2", corpus.vectors.shape[1])
    index.init_index(room, M=LINKS, ef_construction=CANDIDATES, random_seed=1)
    index.set_num_threads(1)
    return index


def faiss_index(corpus: Corpus) -> faiss.IndexHNSWFlat:
    metric = faiss.METRIC_INNER_PRODUCT if corpus.metric == "cosine" else faiss.METRIC_L2
    index = faiss.IndexHNSWFlat(corpus.vectors.shape[1], LINKS, metric)
    index.hnsw.efConstruction = CANDIDATES
    return index


class HnswlibPerTenant(System):
    """Grants add to the tenant's graph; revokes and deletes only mark there, which is all that the library can."""

    modes = {"HNSW per tenant (hnswlib)": EFFORTS[:14]}

    def build(self, corpus: Corpus) -> None:
        self._new = lambda room: hnswlib_index(corpus, room)
        self._vectors_of = lambda rows: corpus.vectors[rows]
        self._access = Access(corpus)
        self._graphs: dict[int, hnswlib.Index] = {}
        self._marked: set[tuple[int, int]] = set()
        for tenant, ids in corpus.lists.items():
            self._add(tenant, ids, corpus.vectors[ids])

    def use(self, mode: str, setting: int) -> None:
        for graph in self._graphs.values():
            graph.set_ef(setting)

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        graph = self._graphs[tenant]
        return graph.knn_query(query, min(k, graph.element_count), num_threads=1)[0][0]

    def _add(self, tenant: int, ids: Sequence[int], vectors: np.ndarray) -> None:
        graph = self._graphs.get(tenant)
        if graph is None:
            graph = self._graphs[tenant] = self._new(len(ids))
        elif graph.element_count + len(ids) > graph.max_elements:
            graph.resize_index(max(graph.max_elements * 5 // 4, graph.element_count + len(ids)))
        for row in ids:
            if (tenant, row) in self._marked:
                graph.unmark_deleted(row)
                self._marked.discard((tenant, row))
        graph.add_items(vectors, ids, num_threads=1)

    def _mark(self, of_tenants: dict[int, list[int]]) -> None:
        for tenant, ids in of_tenants.items():
            for row in ids:
                self._graphs[tenant].mark_deleted(row)
                self._marked.add((tenant, row))

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        for tenant, mine in self._access.grant(ids, tenants).items():
            self._add(tenant, mine, self._vectors_of(mine))

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._mark(self._access.revoke(ids, tenants))

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        at = {int(row): number for number, row in enumerate(ids)}
        for tenant, mine in self._access.grant(ids, owners).items():
            self._add(tenant, mine, vectors[[at[row] for row in mine]])

    def delete(self, ids: np.ndarray) -> None:
        self._mark(self._access.forget(ids))


class FaissPerTenant(System):
    """faiss's graphs are built and searched; they cannot forget a vector."""

    modes = {"HNSW per tenant (faiss)": EFFORTS[:14]}

    def build(self, corpus: Corpus) -> None:
        self._ids = {tenant: ids.copy() for tenant, ids in corpus.lists.items()}
        self._graphs: dict[int, Any] = {}
        for tenant, ids in self._ids.items():
            self._graphs[tenant] = faiss_index(corpus)
            self._graphs[tenant].add(corpus.vectors[ids])

    def use(self, mode: str, setting: int) -> None:
        self._chosen = faiss.SearchParametersHNSW(efSearch=setting)

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        found = self._graphs[tenant].search(query, k, params=self._chosen)[1][0]
        return self._ids[tenant][found[found >= 0]]


class HnswlibFilter(System):
    """One graph of hnswlib; a search takes a callback that says whether a vector is the tenant's: a set's own method, the quickest there is."""

    modes = {"one HNSW, callback (hnswlib)": EFFORTS}

    def build(self, corpus: Corpus) -> None:
        self._graph = hnswlib_index(corpus, len(corpus.vectors))
        self._graph.add_items(corpus.vectors, corpus.ids, num_threads=1)
        self._sees = {tenant: set(ids.tolist()) for tenant, ids in corpus.lists.items()}

    def use(self, mode: str, setting: int) -> None:
        self._graph.set_ef(setting)

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        mine = self._sees[tenant]
        try:
            return self._graph.knn_query(query, min(k, len(mine)), num_threads=1, filter=mine.__contains__)[0][0]
        except RuntimeError:  # it found fewer than k, and then says nothing of those
            return ()


class FaissBitmap(System):
    """One graph of faiss; a search takes an IDSelectorBitmap of the tenant."""

    modes = {"one HNSW, bitmap (faiss)": EFFORTS}

    def build(self, corpus: Corpus) -> None:
        self._graph = faiss_index(corpus)
        self._graph.add(corpus.vectors)
        self._chosen: dict[int, faiss.SearchParametersHNSW] = {}
        for tenant, ids in corpus.lists.items():
            bits = np.zeros(len(corpus.vectors), bool)
            bits[ids] = True
            selector = faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
            self._chosen[tenant] = faiss.SearchParametersHNSW(sel=selector, efSearch=16)

    def use(self, mode: str, setting: int) -> None:
        for chosen in self._chosen.values():
            chosen.efSearch = setting

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        return self._graph.search(query, k, params=self._chosen[tenant])[1][0]
