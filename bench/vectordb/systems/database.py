"""Our database in a directory: acknowledged means durable, a batch of one owner is one record and one fsync."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.vectordb.database import Database, Points
from bench.vectordb import stored
from bench.vectordb.corpus import Corpus
from bench.vectordb.stored import name
from bench.vectordb.systems.base import System
from bench.vectordb.systems.names import STORED


class Stored(System):
    """Changes are of batches that one owner inserted: it acts."""

    slow = True
    modes = {STORED: (None,)}

    def build(self, corpus: Corpus) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="database-"))
        stored.load(corpus, self._folder)
        self._database = Database.open(self._folder, fsync="group")
        self._points = self._database.collection(stored.COLLECTION)
        self._owners: dict[int, str] = {}

    def prepare(self, query: np.ndarray) -> np.ndarray:
        return query[0]

    def search(self, query: Any, k: int, tenant: int) -> Sequence[int]:
        return self._points.search(name(tenant), query, k, with_payload=False).ids

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._owners[int(ids[0])] = name(int(owners[0]))
        self._points.upsert(name(int(owners[0])), Points(ids.astype(np.uint64), vectors))

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._points.grant(self._owners[int(ids[0])], ids.astype(np.uint64), to=name(int(tenants[0])))

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._points.revoke(self._owners[int(ids[0])], ids.astype(np.uint64), name(int(tenants[0])))

    def delete(self, ids: np.ndarray) -> None:
        self._points.delete(self._owners[int(ids[0])], ids.astype(np.uint64))

    def disk_bytes(self) -> int:
        return sum(path.stat().st_blocks * 512 for path in self._folder.rglob("*") if path.is_file())

    def close(self) -> None:
        self._database.close()
        shutil.rmtree(self._folder, ignore_errors=True)
