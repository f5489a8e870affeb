"""What an index must answer, by brute force: the contract of apps/vectordb/_curator.pyi in numpy, for tests to compare with."""

import numpy as np


class Oracle:
    """Vectors, owners and grants in dictionaries; every search looks at everything that the tenants may see."""

    def __init__(self, dim: int, *, metric: str = "l2", dtype: str = "float32"):
        self.dim, self.metric, self.dtype = dim, metric, dtype
        self.rows: dict[int, np.ndarray] = {}
        self.access: dict[int, list[int]] = {}  # owner first

    def _stored(self, vector) -> np.ndarray:
        row = np.asarray(vector, np.float32)
        if self.metric == "cosine":
            row = row / np.linalg.norm(row)
        return row.astype(self.dtype).astype(np.float32)

    def build(self, ids, vectors, owners, grant_ids=(), grant_tenants=()) -> None:
        self.insert(ids, vectors, owners)
        self.grant(grant_ids, grant_tenants)

    def insert(self, ids, vectors, owners) -> None:
        for id, vector, owner in zip(np.atleast_1d(ids), np.atleast_2d(vectors), np.atleast_1d(owners), strict=True):
            self.rows[int(id)] = self._stored(vector)
            self.access[int(id)] = [int(owner)]

    def update(self, ids, vectors) -> None:
        for id, vector in zip(np.atleast_1d(ids), np.atleast_2d(vectors), strict=True):
            self.rows[int(id)] = self._stored(vector)

    def grant(self, ids, tenants) -> int:
        new = 0
        for id, tenant in zip(np.atleast_1d(ids), np.atleast_1d(tenants), strict=True):
            if int(tenant) not in self.access[int(id)]:
                self.access[int(id)].append(int(tenant))
                new += 1
        return new

    def revoke(self, ids, tenants) -> int:
        gone = 0
        for id, tenant in zip(np.atleast_1d(ids), np.atleast_1d(tenants), strict=True):
            if int(tenant) in self.access[int(id)][1:]:
                self.access[int(id)].remove(int(tenant))
                gone += 1
        return gone

    def delete(self, ids) -> None:
        for id in np.atleast_1d(ids):
            del self.rows[int(id)], self.access[int(id)]

    def drop_tenant(self, tenant: int) -> int:
        seen = self.ids(tenant, limit=len(self))
        self.delete([id for id in seen if self.access[int(id)][0] == tenant])
        held = [id for id in seen if int(id) in self.access]
        self.revoke(held, [tenant] * len(held))
        return len(seen)

    def ids(self, tenant: int, after: int | None = None, limit: int = 1000) -> np.ndarray:
        found = sorted(id for id, who in self.access.items() if tenant in who and (after is None or id > after))
        return np.array(found[:limit], np.uint64)

    def count(self, tenant: int) -> int:
        return sum(tenant in who for who in self.access.values())

    def owner(self, id: int) -> int:
        return self.access[int(id)][0]

    def tenants(self, id: int) -> np.ndarray:
        return np.array(sorted(self.access[int(id)]), np.uint32)

    def vectors(self, ids) -> np.ndarray:
        return np.array([self.rows[int(id)] for id in np.atleast_1d(ids)], self.dtype).reshape(-1, self.dim)

    def distances(self, query, ids) -> np.ndarray:
        rows = np.array([self.rows[int(id)] for id in ids], np.float32).reshape(-1, self.dim)
        query = np.asarray(query, np.float32)
        if self.metric == "l2":
            return ((rows - query) ** 2).sum(1)
        if self.metric == "cosine":
            return 1 - rows @ (query / np.linalg.norm(query))
        return -(rows @ query)

    def search(self, vector, k: int, tenants, **_) -> tuple[np.ndarray, np.ndarray]:
        wanted = set(np.atleast_1d(tenants).tolist())
        ids = np.array(sorted(id for id, who in self.access.items() if wanted & set(who)), np.uint64)
        distances = self.distances(vector, ids)
        order = np.lexsort((ids, distances))[:k]
        return ids[order], distances[order]

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, id: int) -> bool:
        return int(id) in self.rows
