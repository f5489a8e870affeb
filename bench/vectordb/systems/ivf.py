"""faiss's inverted files: one for all with a bitmap of each tenant, or one for each tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np

from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.access import Access
from bench.vectordb.systems.base import SLACK, STEPS, System

FLAT_MAX = 64  # a tenant with no more vectors has a single list


def trained(vectors: np.ndarray, lists: int, cosine: bool) -> tuple[faiss.IndexIVFFlat, Any]:
    """An empty index and its quantizer, which must live as long."""
    dim = vectors.shape[1]
    quantizer = faiss.IndexFlatIP(dim) if cosine else faiss.IndexFlatL2(dim)
    index = faiss.IndexIVFFlat(quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2)
    index.cp.min_points_per_centroid = 1  # no warning: small tenants have small lists
    index.train(vectors)
    return index, quantizer


class IvfBitmap(System):
    """One IndexIVFFlat; a search takes an IDSelectorBitmap of the tenant. The knob is nprobe."""

    lists = 512

    def build(self, corpus: Corpus) -> None:
        self._index, self._quantizer = trained(corpus.vectors, min(self.lists, len(corpus.vectors) // 4), corpus.metric == "cosine")
        self._index.add_with_ids(corpus.vectors, corpus.ids.astype(np.int64))
        self._access = Access(corpus)
        self._bytes = int(len(corpus.vectors) * SLACK) // 8 + 1
        self._bitmaps: dict[int, np.ndarray] = {}
        self._chosen: dict[int, faiss.SearchParametersIVF] = {}
        for tenant, ids in corpus.lists.items():
            np.bitwise_or.at(self._bitmap(tenant), ids >> 3, (1 << (ids & 7)).astype(np.uint8))

    def _bitmap(self, tenant: int) -> np.ndarray:
        if tenant not in self._bitmaps:
            self._bitmaps[tenant] = np.zeros(self._bytes, np.uint8)
            self._chosen[tenant] = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(self._bitmaps[tenant]), nprobe=1)
        return self._bitmaps[tenant]

    def use(self, mode: str, setting: int) -> None:
        for chosen in self._chosen.values():
            chosen.nprobe = setting

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        return self._index.search(query, k, params=self._chosen[tenant])[1][0]

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._access.grant(ids, tenants)
        for row, tenant in zip(ids.tolist(), tenants.tolist(), strict=True):
            self._bitmap(tenant)[row >> 3] |= 1 << (row & 7)

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._access.revoke(ids, tenants)
        for row, tenant in zip(ids.tolist(), tenants.tolist(), strict=True):
            self._bitmaps[tenant][row >> 3] &= ~(1 << (row & 7)) & 255

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._index.add_with_ids(vectors, ids.astype(np.int64))
        self.grant(ids, owners)

    def delete(self, ids: np.ndarray) -> None:
        self._index.remove_ids(faiss.IDSelectorBatch(ids.astype(np.int64)))
        for tenant, mine in self._access.forget(ids).items():
            for row in mine:
                self._bitmaps[tenant][row >> 3] &= ~(1 << (row & 7)) & 255


def ivf_bitmap(lists: int) -> type[IvfBitmap]:
    settings = (*(step for step in STEPS if step < lists), lists)
    return type(f"IvfBitmap{lists}", (IvfBitmap,), {"lists": lists, "modes": {f"one IVF, bitmap ({lists} lists)": settings}})


class IvfPerTenant(System):
    """An IndexIVFFlat for each tenant, with as many lists as the square root of its vectors. The knob is nprobe, the same for all."""

    modes = {"IVF per tenant": STEPS[:14]}

    def build(self, corpus: Corpus) -> None:
        self._dim, self._cosine = corpus.vectors.shape[1], corpus.metric == "cosine"
        self._vectors_of = lambda rows: corpus.vectors[rows]
        self._access = Access(corpus)
        self._indexes = {tenant: self._made(corpus.vectors[ids], ids) for tenant, ids in corpus.lists.items()}
        self._chosen = faiss.SearchParametersIVF(nprobe=1)

    def _made(self, vectors: np.ndarray, ids: np.ndarray) -> tuple[faiss.IndexIVFFlat, Any]:
        index, quantizer = trained(vectors, 1 if len(ids) <= FLAT_MAX else round(len(ids) ** 0.5), self._cosine)
        index.add_with_ids(vectors, ids.astype(np.int64))
        return index, quantizer

    def use(self, mode: str, setting: int) -> None:
        self._chosen = faiss.SearchParametersIVF(nprobe=setting)

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        return self._indexes[tenant][0].search(query, k, params=self._chosen)[1][0]

    def _add(self, tenant: int, ids: list[int], vectors: np.ndarray) -> None:
        if tenant in self._indexes:
            self._indexes[tenant][0].add_with_ids(vectors, np.array(ids, np.int64))
        else:
            self._indexes[tenant] = self._made(vectors, np.array(ids))

    def _remove(self, tenant: int, ids: list[int]) -> None:
        self._indexes[tenant][0].remove_ids(faiss.IDSelectorBatch(np.array(ids, np.int64)))

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        for tenant, mine in self._access.grant(ids, tenants).items():
            self._add(tenant, mine, self._vectors_of(mine))

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        for tenant, mine in self._access.revoke(ids, tenants).items():
            self._remove(tenant, mine)

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        at = {int(row): number for number, row in enumerate(ids)}
        for tenant, mine in self._access.grant(ids, owners).items():
            self._add(tenant, mine, vectors[[at[row] for row in mine]])

    def delete(self, ids: np.ndarray) -> None:
        for tenant, mine in self._access.forget(ids).items():
            self._remove(tenant, mine)
