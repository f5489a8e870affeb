"""Points to write, as a change of the log: rows found or given out, columns in the order that the log has them in."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .contents import Contents
from .model import SparseColumns
from .records import pack_keys, pack_payloads, pack_rows, pb
from .sparse.columns import message, reordered, size_of


class Batch(NamedTuple):
    """Points as columns. given: [n, dim] as stored; texts: payloads; sparse: their sparse vectors by name, as stored."""

    keys: list[int]
    given: np.ndarray
    texts: list[bytes]
    sparse: dict[str, SparseColumns]

    def taken(self, places: Sequence[int]) -> Batch:
        """Those at the places, in their order."""
        sparse = {name: reordered(each, places) for name, each in self.sparse.items()}
        return Batch([self.keys[at] for at in places], self.given[places], [self.texts[at] for at in places], sparse)

    @property
    def loose_bytes(self) -> int:
        """Of payloads and sparse vectors."""
        return sum(map(len, self.texts)) + sum(map(size_of, self.sparse.values()))


def packed(owner: int, fresh: int, rows: Sequence[int], batch: Batch) -> pb.Upsert:
    """The columns of points, of which the first `fresh` are new."""
    low, high = pack_keys(batch.keys)
    sizes, joined = pack_payloads(batch.texts)
    return pb.Upsert(owner=owner, fresh=fresh, rows=pack_rows(rows), keys_low=low, keys_high=high, vectors=batch.given.tobytes(),
                     payload_sizes=sizes, payloads=joined, sparse=[message(*each) for each in batch.sparse.items()])


class Placing:
    """Finds places among an owner's points for batches of one transaction, whose keys are all different. A writer's.

    `fresh` points are new so far, and payloads and sparse vectors grow by `growth` bytes.
    """

    def __init__(self, contents: Contents, owner: int) -> None:
        self._contents, self._namespace = contents, contents.namespace(owner)
        self._lookup = self._namespace.warm().lookup
        self.fresh = self.growth = 0

    def knows(self, key: int) -> bool:
        return key in self._lookup

    def place(self, batch: Batch) -> pb.Upsert:
        """What writes them, new ones first."""
        there = list(map(self._lookup.get, batch.keys))
        order = sorted(range(len(there)), key=lambda at: there[at] is not None)
        fresh = there.count(None)
        rows = [*self._namespace.take_rows(self.fresh + fresh)[self.fresh:], *(there[at] for at in order[fresh:])]
        self.fresh += fresh
        self.growth += batch.loose_bytes - self._held(rows[fresh:])
        return packed(self._namespace.owner, fresh, rows, batch.taken(order) if 0 < fresh < len(there) else batch)

    def _held(self, rows: Sequence[int]) -> int:
        """Bytes of payloads and sparse vectors of rows that are there."""
        return sum(len(self._namespace.state.payload(row)) for row in rows) + self._contents.sparse_bytes(self._namespace.owner, rows)
