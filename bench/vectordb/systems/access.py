"""Who sees what, for systems that must keep it themselves: posting lists of tenants, and access sets of vectors."""

from __future__ import annotations

import numpy as np

from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.base import by_tenant


class Postings:
    """Each tenant's ids in an array with room at its end, in no order."""

    def __init__(self, corpus: Corpus) -> None:
        self._ids = {tenant: ids.copy() for tenant, ids in corpus.lists.items()}
        self._count = {tenant: len(ids) for tenant, ids in self._ids.items()}

    def of(self, tenant: int) -> np.ndarray:
        return self._ids[tenant][:self._count[tenant]]

    def __iter__(self):
        return iter(self._ids)

    def add(self, tenant: int, ids: list[int]) -> None:
        """`ids` must not be there yet."""
        have = self._count.setdefault(tenant, 0)
        room = self._ids.setdefault(tenant, np.empty(0, np.int64))
        if have + len(ids) > len(room):
            self._ids[tenant] = np.concatenate([room[:have], np.empty(have // 4 + len(ids), np.int64)])
        self._ids[tenant][have:have + len(ids)] = ids
        self._count[tenant] = have + len(ids)

    def remove(self, tenant: int, ids: list[int]) -> None:
        mine = self.of(tenant)
        left = mine[~np.isin(mine, ids)]
        mine[:len(left)] = left
        self._count[tenant] = len(left)


class Access:
    """Tenants of each vector: flat arrays of what was built, and a dict of what has changed since."""

    def __init__(self, corpus: Corpus) -> None:
        rows = np.concatenate([np.arange(len(corpus.owners)), corpus.grant_ids.astype(np.int64)])
        order = np.argsort(rows, kind="stable")  # the owner comes first
        self._tenants = np.concatenate([corpus.owners, corpus.grant_tenants])[order]
        self._starts = np.searchsorted(rows[order], np.arange(len(corpus.owners) + 1)).astype(np.int32)
        self._changed: dict[int, list[int]] = {}

    def of(self, row: int) -> list[int]:
        """The list itself, to be changed in place."""
        if row not in self._changed:
            built = self._tenants[self._starts[row]:self._starts[row + 1]] if row + 1 < len(self._starts) else ()
            self._changed[row] = [int(tenant) for tenant in built]
        return self._changed[row]

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> dict[int, list[int]]:
        """Adds pairs; returns them by tenant."""
        for row, tenant in zip(ids.tolist(), tenants.tolist(), strict=True):
            self.of(row).append(tenant)
        return by_tenant(ids, tenants)

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> dict[int, list[int]]:
        for row, tenant in zip(ids.tolist(), tenants.tolist(), strict=True):
            self.of(row).remove(tenant)
        return by_tenant(ids, tenants)

    def forget(self, ids: np.ndarray) -> dict[int, list[int]]:
        """Empties the sets of `ids`; returns what they held, by tenant."""
        rows, tenants = [], []
        for row in ids.tolist():
            held = self.of(row)
            rows += [row] * len(held)
            tenants += held
            self._changed[row] = []
        return by_tenant(np.array(rows, np.int64), np.array(tenants, np.int64))
