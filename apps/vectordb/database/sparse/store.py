"""Where sparse vectors lie: one after the other in slots, each once, whoever sees it.

A slot is never changed: a vector that is written anew gets another one. Which slot a point has stands in an array for each owner, by row;
0: none. So a reader that fetched slots may read them as long as it likes, without a lock, while writers go on: they write behind what
is used, put larger arrays in the place of those that are full, and, once most of it is garbage, a new Store in the place of this one.
The writer stores a vector before it says where, so a reader fetches slots first and `_data` then.
"""
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..model import Sparse, SparseColumns
from .columns import PAIR_BYTES, spans

GARBAGE_MIN = 1 << 16  # numbers: with fewer it does not matter


class _Data(NamedTuple):
    ends: np.ndarray     # i64: of slot s its end, and of s + 1 its beginning
    indices: np.ndarray  # u32
    values: np.ndarray   # f32


def _grown(array: np.ndarray, used: int, more: int) -> np.ndarray:
    if used + more <= len(array):
        return array
    larger = np.empty(max(used + more, 2 * len(array), 1024), array.dtype)
    larger[:used] = array[:used]
    return larger


def _by_owner(ids: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
    """Of index ids u64[n], ascending, each owner, where its ids are, and the rows u32 in them."""
    owners, rows = (ids >> np.uint64(32)).astype(np.uint32), ids.astype(np.uint32)
    starts = np.flatnonzero(np.diff(owners, prepend=np.uint32(0)))  # no owner has the number 0
    for owner, (start, end) in zip(owners[starts].tolist(), pairwise([*starts.tolist(), len(ids)]), strict=True):
        yield owner, slice(start, end), rows[start:end]


class Store:
    """Of one collection and name. slots: by owner, of each row. put, remove and drop are a writer's."""

    def __init__(self) -> None:
        self.slots: dict[int, np.ndarray] = {}
        self._data = _Data(np.zeros(1, np.int64), np.empty(0, np.uint32), np.empty(0, np.float32))
        self._used = 1
        self._owned: dict[int, int] = {}  # numbers in vectors of each owner

    def owned_bytes(self, owner: int) -> int:
        return PAIR_BYTES * self._owned.get(owner, 0)

    @property
    def size_bytes(self) -> int:
        return PAIR_BYTES * (int(self._data.ends[self._used - 1]) + self._used) + sum(4 * len(slots) for slots in list(self.slots.values()))

    def slots_of(self, ids: np.ndarray) -> np.ndarray:
        """u32[n] of index ids u64[n], ascending."""
        found = np.zeros(len(ids), np.uint32)
        for owner, part, rows in _by_owner(ids):
            slots = self.slots.get(owner)
            if slots is not None:
                known = int(np.searchsorted(rows, len(slots)))
                found[part.start:part.start + known] = slots[rows[:known]]
        return found

    def read(self, slots: np.ndarray) -> SparseColumns:
        """The vectors in slots u32[n]; nothing for slot 0."""
        data, slots = self._data, slots.astype(np.int64)
        starts = data.ends[slots - (slots > 0)]
        sizes = data.ends[slots] - starts
        at = spans(starts, sizes)
        return SparseColumns(sizes.astype(np.uint32), data.indices[at], data.values[at])

    def at(self, ids: np.ndarray) -> SparseColumns:
        """The vectors of index ids u64[n], in any order."""
        order = np.argsort(ids)
        slots = np.zeros(len(ids), np.uint32)
        slots[order] = self.slots_of(ids[order])
        return self.read(slots)

    def vectors(self, ids: np.ndarray) -> list[Sparse | None]:
        """The same one by one; None for a point without."""
        sizes, indices, values = self.at(ids)
        ends = np.cumsum(sizes)[:-1]
        pairs = zip(np.split(indices, ends), np.split(values, ends), strict=True) if len(ids) else ()
        return [Sparse(*pair) if len(pair[0]) else None for pair in pairs]

    def put(self, owner: int, rows: np.ndarray, columns: SparseColumns) -> None:
        """Vectors of rows of an owner, in the place of those that they have."""
        fresh = self._append(columns)
        slots = self._slots_for(owner, int(rows.max()) + 1 if len(rows) else 0)
        self._owned[owner] = self._owned.get(owner, 0) + int(columns.sizes.sum(dtype=np.int64)) - self._numbers(slots[rows])
        slots[rows] = np.where(columns.sizes > 0, fresh, 0)

    def _append(self, columns: SparseColumns) -> np.ndarray:
        """Their slots."""
        count, start, used = len(columns.sizes), int(self._data.ends[self._used - 1]), self._used
        ends = _grown(self._data.ends, used, count)
        indices, values = (_grown(array, start, len(more)) for array, more in zip(self._data[1:], columns[1:], strict=True))
        ends[used:used + count] = start + np.cumsum(columns.sizes, dtype=np.int64)
        indices[start:start + len(columns.indices)] = columns.indices
        values[start:start + len(columns.values)] = columns.values
        self._data, self._used = _Data(ends, indices, values), used + count
        return np.arange(used, used + count, dtype=np.uint32)

    def _slots_for(self, owner: int, rows: int) -> np.ndarray:
        slots = self.slots.get(owner)
        if slots is None or len(slots) < rows:
            slots, smaller = np.zeros(max(rows, 2 * len(slots) if slots is not None else 0), np.uint32), slots
            if smaller is not None:
                slots[:len(smaller)] = smaller
            self.slots[owner] = slots
        return slots

    def _numbers(self, slots: np.ndarray) -> int:
        slots = slots[slots > 0].astype(np.int64)
        return int((self._data.ends[slots] - self._data.ends[slots - 1]).sum())

    def remove(self, owner: int, rows: np.ndarray) -> None:
        """Rows of an owner have none from now on."""
        slots = self.slots.get(owner)
        if slots is not None:
            rows = rows[rows < len(slots)]
            self._owned[owner] -= self._numbers(slots[rows])
            slots[rows] = 0

    def drop(self, owner: int) -> None:
        self.slots.pop(owner, None)
        self._owned.pop(owner, None)

    @property
    def wasteful(self) -> bool:
        """Whether most of it is garbage."""
        used, live = int(self._data.ends[self._used - 1]), sum(self._owned.values())
        return used - live > live + GARBAGE_MIN

    def freeze(self) -> Frozen:
        """As of now, to be written while it changes."""
        return Frozen(self, {owner: slots.copy() for owner, slots in self.slots.items()})

    def compacted(self) -> Store:
        """A store of the same, without garbage."""
        return Store.of(*self.freeze().columns())

    @staticmethod
    def of(ids: np.ndarray, columns: SparseColumns) -> Store:
        """A store of the vectors of index ids u64[n], ascending."""
        store = Store()
        slots = store._append(columns)
        for owner, part, rows in _by_owner(ids):
            store._slots_for(owner, int(rows[-1]) + 1)[rows] = slots[part]
            store._owned[owner] = int(columns.sizes[part].sum(dtype=np.int64))
        return store


class Frozen(NamedTuple):
    store: Store
    slots: dict[int, np.ndarray]

    def columns(self) -> tuple[np.ndarray, SparseColumns]:
        """(index ids u64[n], ascending; their vectors) of all that has one."""
        ids, slots = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
        for owner in sorted(self.slots):
            rows = np.flatnonzero(self.slots[owner])
            ids.append(np.uint64(owner << 32) | rows.astype(np.uint64))
            slots.append(self.slots[owner][rows])
        return np.concatenate(ids), self.store.read(np.concatenate(slots))

