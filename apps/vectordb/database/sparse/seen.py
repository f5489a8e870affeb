"""What a tenant sees of sparse vectors, and the exact best of it for a query.

A `View` is kept from the tenant's last search. When it sees something else now, by its own writes or by those of others, the few points that
went are masked and a small View has those that came; once that is an eighth, a View of all is made. So a search takes time by the
postings that its tenant sees, and, when anything was written since the one before, by the number of points that the tenant sees.
"""
from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from ..model import SparseParams
from .store import Store
from .view import View

VIEWS_BYTES_MAX = 256 << 20  # of one collection and name: then those go that were not asked for longest
PATCHED_PARTS = 8            # of a View: when more than one of them changed, it is made anew
PATCHED_MIN = 64


class Part(NamedTuple):
    """Some of what a tenant sees: the points of a View, or those where bool[m] is true."""

    view: View
    alive: np.ndarray | None

    def size(self) -> int:
        return len(self.view) if self.alive is None else int(np.count_nonzero(self.alive))

    def length(self) -> float:
        return float(self.view.lengths.sum() if self.alive is None else self.view.lengths[self.alive].sum())

    def postings(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        places, values = self.view.postings(index)
        if self.alive is None:
            return places, values
        there = self.alive[places]
        return places[there], values[there]


class Seen(NamedTuple):
    """All that a tenant sees, as of a version of the contents. points: how many; length: sum of all their values."""

    version: int
    scope: tuple[int, ...]
    store: Store
    parts: tuple[Part, ...]
    points: int
    length: float

    @staticmethod
    def of(version: int, scope: tuple[int, ...], store: Store, parts: tuple[Part, ...]) -> Seen:
        return Seen(version, scope, store, parts, sum(part.size() for part in parts), sum(part.length() for part in parts))

    @property
    def size_bytes(self) -> int:
        return sum(part.view.size_bytes + (0 if part.alive is None else part.alive.nbytes) for part in self.parts)

    def updated(self, version: int, ids: np.ndarray, slots: np.ndarray) -> Seen:
        """The same tenant's later, when it sees the points ids u64[n], ascending, in slots u32[n]."""
        base = self.parts[0].view
        places = np.searchsorted(ids, base.ids)
        places[places == len(ids)] = 0
        alive = (ids[places] == base.ids) & (slots[places] == base.slots) if len(ids) else np.zeros(len(base), bool)
        came = np.ones(len(ids), bool)
        came[places[alive]] = False
        went, more = len(base) - int(np.count_nonzero(alive)), int(np.count_nonzero(came))
        if went + more > PATCHED_MIN + len(base) // PATCHED_PARTS:
            return Seen.of(version, self.scope, self.store, (Part(View(self.store, ids, slots), None),))
        parts = [Part(base, alive if went else None)]
        if more:
            parts.append(Part(View(self.store, ids[came], slots[came]), None))
        return Seen.of(version, self.scope, self.store, tuple(parts))

    def best(self, params: SparseParams, indices: np.ndarray, values: np.ndarray, k: int,
             among: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(index ids u64, scores f64) of the k points with the largest scores for a query u32[z], f32[z], of those that have one of the indices;
        equal ones by id. among: ids u64, ascending, of those that may be found; statistics are of all, whatever it says."""
        postings = [[part.postings(index) for part in self.parts] for index in indices.tolist()]
        weights = [self._weight(params, value, sum(len(places) for places, _ in found))
                   for value, found in zip(values.tolist(), postings, strict=True)]
        scored = [self._scored(params, part, weights, [found[at] for found in postings], among) for at, part in enumerate(self.parts)]
        ids, scores = (np.concatenate(columns) for columns in zip(*scored, strict=True))
        if len(ids) > k:
            bound = np.partition(scores, len(scores) - k)[len(scores) - k]
            ids, scores = ids[scores >= bound], scores[scores >= bound]
        order = np.lexsort((ids, -scores))[:k]
        return ids[order], scores[order]

    def _weight(self, params: SparseParams, value: float, having: int) -> float:
        if params.modifier == "none":
            return value
        return value * math.log(1 + (self.points - having + 0.5) / (having + 0.5))

    def _scored(self, params: SparseParams, part: Part, weights: list[float], postings: list[tuple[np.ndarray, np.ndarray]],
                among: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Ids and scores of the points of a part that have an index of the query."""
        scores, found = np.zeros(len(part.view)), np.zeros(len(part.view), bool)
        for weight, (places, values) in zip(weights, postings, strict=True):
            if len(places):
                scores[places] += weight * (self._saturated(params, values, part.view.lengths[places]) if params.modifier == "bm25" else values)
                found[places] = True
        there = np.flatnonzero(found)
        ids = part.view.ids[there]
        if among is not None:
            taken = np.isin(ids, among, assume_unique=True)
            ids, there = ids[taken], there[taken]
        return ids, scores[there]

    def _saturated(self, params: SparseParams, counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Counts of terms as BM25 weighs them in texts of those lengths."""
        held_back = params.k1 * (1 - params.b + params.b * lengths * (self.points / self.length))
        return counts * (params.k1 + 1) / (counts + held_back)


class Views:
    """Of the tenants that searched sparse vectors of one name. Readers take a lock for a look at a table, and never across work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._bytes = 0

    def find(self, number: int) -> Seen | None:
        with self._lock:
            seen = self._seen.get(number)
            if seen is not None:
                self._seen.move_to_end(number)
            return seen

    def keep(self, number: int, seen: Seen) -> None:
        with self._lock:
            self._forget(number)
            self._seen[number] = seen
            self._bytes += seen.size_bytes
            while self._bytes > VIEWS_BYTES_MAX and len(self._seen) > 1:
                self._forget(next(iter(self._seen)))

    def cool(self, number: int) -> int:
        """Drops a tenant's; how many bytes."""
        with self._lock:
            return self._forget(number)

    def _forget(self, number: int) -> int:
        seen = self._seen.pop(number, None)
        size = seen.size_bytes if seen is not None else 0
        self._bytes -= size
        return size

    @property
    def size_bytes(self) -> int:
        return self._bytes
