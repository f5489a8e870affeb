"""Postings of some points: of each index, which of them have it, and with which value. Never changed once it is made."""
from __future__ import annotations

import numpy as np

from .store import Store


class View:
    """Of the points ids u64[m], ascending, whose vectors are in slots u32[m]. Takes O(numbers log numbers) to make, 8 bytes a number to keep."""

    def __init__(self, store: Store, ids: np.ndarray, slots: np.ndarray) -> None:
        self.ids, self.slots = ids, slots
        sizes, indices, values = store.read(slots)
        of_point = np.repeat(np.arange(len(ids), dtype=np.uint32), sizes)
        self.lengths = np.bincount(of_point, values, len(ids))
        order = np.argsort(indices, kind="stable")
        indices = indices[order]
        first = np.flatnonzero(np.diff(indices, prepend=~indices[:1]))
        self._indices, self._starts = indices[first], np.append(first, len(indices))
        self._points, self._values = of_point[order], values[order]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in vars(self).values())

    def postings(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(places u32[df] among the points, values f32[df]) of those that have it."""
        at = int(np.searchsorted(self._indices, index))
        if at == len(self._indices) or self._indices[at] != index:
            return self._points[:0], self._values[:0]
        part = slice(self._starts[at], self._starts[at + 1])
        return self._points[part], self._values[part]
