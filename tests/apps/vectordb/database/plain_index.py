"""The oracle with the rest of the index's surface that a database uses: its answers are exact, and it is saved as a pickle."""
from __future__ import annotations

import pickle
import zlib

import numpy as np

from tests.apps.vectordb.oracle import Oracle


class Cut:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def save(self, path: str) -> None:
        with open(path, "wb") as file:
            file.write(zlib.crc32(self._body).to_bytes(4, "little") + self._body)


class PlainIndex(Oracle):
    def __init__(self, dim: int, *, recall: float = 1.0, seed: int = 0, **settings) -> None:
        super().__init__(dim, **settings)

    def predicate(self, what) -> set[int]:
        return set(np.atleast_1d(what).tolist())

    def search(self, vector, k, tenants, *, where=None, **how):
        if where is None:
            return super().search(vector, k, tenants)
        ids, distances = super().search(vector, len(self), tenants)
        taken = np.array([int(id) in where for id in ids], bool)
        return ids[taken][:k], distances[taken][:k]

    def search_many(self, vectors, k, tenants, **how):
        ids, distances = np.zeros((len(vectors), k), np.uint64), np.zeros((len(vectors), k), np.float32)
        counts = np.zeros(len(vectors), np.uint32)
        for at, vector in enumerate(vectors):
            found = self.search(vector, k, tenants, **how)
            counts[at] = len(found[0])
            ids[at, :counts[at]], distances[at, :counts[at]] = found
        return ids, distances, counts

    def insert(self, ids, vectors, owners, *, learn=True) -> None:
        super().insert(ids, vectors, owners)

    taught = True

    def learn(self, vectors: int | None = None) -> bool:
        return False

    def maintain(self, budget: int = 0) -> bool:
        return False

    def check(self) -> None:
        pass

    def cut(self) -> Cut:
        return Cut(pickle.dumps((self.dim, self.metric, self.dtype, self.rows, self.access)))

    @staticmethod
    def load(path: str) -> PlainIndex:
        with open(path, "rb") as file:
            checksum, body = file.read(4), file.read()
        if zlib.crc32(body).to_bytes(4, "little") != checksum:
            raise ValueError(f"{path}: the checksum over bytes 4 to {4 + len(body)} is wrong")
        dim, metric, dtype, rows, access = pickle.loads(body)
        index = PlainIndex(dim, metric=metric, dtype=dtype)
        index.rows, index.access = rows, access
        return index
