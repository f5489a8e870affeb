"""The sparse vectors of one name in a collection: what is written of them, and searched."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..model import SparseColumns, SparseParams
from .seen import Part, Seen, Views
from .store import Store
from .view import View


class SparseIndex:
    def __init__(self, params: SparseParams, store: Store | None = None) -> None:
        self.params, self.store, self.views = params, store or Store(), Views()

    # For the writer.
    def write(self, owner: int, rows: np.ndarray, columns: SparseColumns | None) -> None:
        """Vectors of rows of an owner, in the place of those that they had. None: no vectors."""
        if columns is None:
            self.store.remove(owner, rows)
        else:
            self.store.put(owner, rows, columns)
        if self.store.wasteful:
            self.store = self.store.compacted()

    def drop(self, number: int) -> None:
        """A party is gone, with all that it owned."""
        self.store.drop(number)
        self.views.cool(number)

    # For readers.
    def seen(self, number: int, scope: tuple[int, ...], version: int, visible: Callable[[], np.ndarray]) -> Seen:
        """What a tenant sees as of the version of the contents, or a later one. visible: index ids u64[n], ascending, of what it sees now."""
        known, store = self.views.find(number), self.store
        if known is not None and (known.scope != scope or known.store is not store):
            known = None
        if known is not None and known.version == version:
            return known
        ids = visible()
        slots = store.slots_of(ids)
        ids, slots = ids[slots > 0], slots[slots > 0]
        seen = known.updated(version, ids, slots) if known else Seen.of(version, scope, store, (Part(View(store, ids, slots), None),))
        self.views.keep(number, seen)
        return seen
