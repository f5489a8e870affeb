"""How good live searches are: a sample of them is run again off the query path, beside the exact search.

Every `1/rate`-th query (by count, not by chance: the first of a quiet tenant may well be one) waits to be judged, unless enough of
its tenant do already: an exact search of a large tenant takes as long as a hundred others, so that judging a part of a flood
would take more of the processors than other tenants do. Judging runs it twice, as it was asked and exactly, one right after the
other, so that what was written since does not count against the index. Figures are kept by tenant; the class is by what the
tenant saw then.
"""
from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from . import filters
from .contents import Contents
from .model import Recall
from .parties import Party
from .queries import Queries

WAITING_MAX = 256
WAITING_EACH = 2  # of a tenant in a collection
JUDGED_MAX = 8  # in a round
CLASSES = ((500, "<500"), (2000, "<2000"), (8000, "<8000"))
LARGEST = ">=8000"
_NONE = Recall(0, 0, 0)


class Sample(NamedTuple):
    contents: Contents
    queries: Queries
    party: Party
    vector: np.ndarray
    k: int
    wanted: filters.Filter | None
    how: dict[str, Any]


class Figures:
    """Of one collection."""

    def __init__(self) -> None:
        self._by_tenant: dict[tuple[int, str], Recall] = {}

    def add(self, tenant: int, size: int, expected: int, found: int) -> None:
        name = next((name for below, name in CLASSES if size < below), LARGEST)
        self._by_tenant[tenant, name] = _sum([self._by_tenant.get((tenant, name), _NONE), Recall(1, expected, found)])

    def of(self, tenant: int) -> Recall:
        return _sum([figure for (number, _), figure in list(self._by_tenant.items()) if number == tenant])

    def by_class(self) -> dict[str, Recall]:
        figures = list(self._by_tenant.items())
        return {name: _sum([figure for (_, its), figure in figures if its == name]) for name in (*(name for _, name in CLASSES), LARGEST)}


def _sum(figures: list[Recall]) -> Recall:
    return Recall(*map(sum, zip(_NONE, *figures, strict=True)))


class Sampler:
    def __init__(self, rate: float) -> None:
        """rate: part of the queries that is judged, 0 to 1."""
        self._every = round(1 / rate) if rate > 0 else 0
        self._count = itertools.count(1)  # its next() is one step of the interpreter
        self._waiting: dict[tuple[int, int, int], Sample] = {}  # collection, tenant, which of its places
        self._figures: dict[int, Figures] = defaultdict(Figures)

    def offer(self, contents: Contents, queries: Queries, party: Party, vectors: np.ndarray, k: int, wanted: filters.Filter | None,
              how: dict[str, Any]) -> None:
        """Called with every search; takes some of its queries."""
        if not self._every:
            return
        for at in range(len(vectors)):
            turn, rest = divmod(next(self._count), self._every)
            if rest:
                continue
            place = contents.number, party.number, turn % WAITING_EACH
            if place not in self._waiting and len(self._waiting) < WAITING_MAX:
                self._waiting[place] = Sample(contents, queries, party, vectors[at].copy(), k, wanted, how)

    def figures(self, collection: int) -> Figures:
        return self._figures[collection]

    def judge(self) -> int:
        """Judges some of what waits, the oldest first; how many. For one thread at a time, off the query path."""
        places = list(self._waiting)[:JUDGED_MAX]
        for place in places:
            self._judge(self._waiting.pop(place))
        return len(places)

    def _judge(self, sample: Sample) -> None:
        asked, best = (self._ids(sample, how) for how in (sample.how, {"exact": True}))
        expected, found = set(best), len(set(asked) & set(best))
        self._figures[sample.contents.number].add(sample.party.number, sample.queries.count(sample.party), len(expected), found)

    @staticmethod
    def _ids(sample: Sample, how: dict[str, Any]) -> list[int]:
        return sample.queries.nearest(sample.party, sample.vector[None], sample.k, sample.wanted, how).ids.tolist()
