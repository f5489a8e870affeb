"""Our index, as it is by default, and with parts of it left out or fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from apps.vectordb._curator import Index
from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.base import System
from bench.vectordb.systems.names import EARLY, FIXED, HALF, OURS, SCAN

BUDGETS = (48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
PATIENCE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class Curator(System):
    """The default has no knob here: one setting for every set, case and size class."""

    modes = {OURS: (None,), FIXED: BUDGETS, EARLY: PATIENCE, SCAN: (None,)}
    dtype = "float32"

    def build(self, corpus: Corpus) -> None:
        self._index = Index(corpus.vectors.shape[1], metric=corpus.metric, dtype=self.dtype)
        self._index.build(corpus.ids, corpus.vectors, corpus.owners, corpus.grant_ids, corpus.grant_tenants)
        self._options: dict[str, Any] = {}

    def use(self, mode: str, setting: Any) -> None:
        self._options = {OURS: {}, FIXED: {"budget": setting}, EARLY: {"patience": setting}, SCAN: {"exact": True}}[mode]

    def prepare(self, query: np.ndarray) -> np.ndarray:
        return query[0]

    def search(self, query: np.ndarray, k: int, tenant: int) -> Sequence[int]:
        return self._index.search(query, k, tenant, **self._options)[0]

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._index.grant(ids.astype(np.uint64), tenants)

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._index.revoke(ids.astype(np.uint64), tenants)

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._index.insert(ids.astype(np.uint64), vectors, owners)

    def delete(self, ids: np.ndarray) -> None:
        self._index.delete(ids.astype(np.uint64))


class CuratorHalf(Curator):
    dtype, item_bytes = "float16", 2
    modes = {HALF: (None,)}

    def use(self, mode: str, setting: Any) -> None:
        self._options = {}
