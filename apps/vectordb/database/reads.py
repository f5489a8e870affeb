"""Reads of points: search, get, scroll, count. They see every write that was acknowledged, and wait for none."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import filters, vectors
from .core import Core
from .errors import Damaged, Invalid, NotFound
from .model import K_MAX, PAGE_MAX, QUERIES_MAX, RESULTS_MAX, Hits, Page, Recall, Record, Ref, Results
from .parties import Party
from .queries import Nearest, Pace

RETRIES_MAX = 8  # of a search whose results were deleted and forgotten before they could be named
Wanted = filters.Filter | Mapping[str, Any] | None
_INTEGER = (int, np.integer)


class ReadOperations(Core):
    def search(self, tenant: str, vector: Any, k: int, filter: Wanted = None, *, with_payload: bool = True, exact: bool = False,
               budget: int | None = None, patience: int | None = None, recall: float | None = None) -> Hits | list[Hits]:
        """The k nearest points that the tenant sees, always min(k, as many as there are). [dim]: one query; [n, dim]: n, and a list of Hits.

        filter: only among points that it takes. exact, budget, patience, recall: as the index's search. NotFound for the tenant;
        Invalid for the vector, the filter, k < 1 or > K_MAX, a setting out of its range, more than QUERIES_MAX queries, or
        n * k > RESULTS_MAX; QuotaExceeded.
        """
        given = vectors.array(vector)
        found = list(self.search_columns(tenant, given, k, filter, with_payload=with_payload, exact=exact, budget=budget, patience=patience,
                                         recall=recall))
        return found[0] if given.ndim == 1 else found

    def search_columns(self, tenant: str, vector: Any, k: int, filter: Wanted = None, *, with_payload: bool = True, exact: bool = False,
                       budget: int | None = None, patience: int | None = None, recall: float | None = None,
                       pace: Pace | None = None) -> Results:
        """As search(), which spends as long on making lists of a batch's results as on finding them. pace: in which pieces a batch is
        searched for, and on how many threads; None: in one, on this thread."""
        queries = vectors.queries(self.config, vectors.array(vector))
        check_size(len(queries), k)
        wanted, how = filters.parse(filter), settings(exact, budget, patience, recall)
        party = self._admit(tenant, len(queries))
        began = time.perf_counter()
        results = self._named(lambda again: self._queries.nearest(party, queries, k, wanted, how, pace), with_payload)
        self._contents.tallies.searched(party.number, len(queries), len(results.owner), time.perf_counter() - began)
        self._teacher.searched(self._contents)
        if not exact:
            self._sampler.offer(self._contents, self._queries, party, queries, k, wanted, how)
        return results

    def _named(self, find: Callable[[bool], Nearest], with_payload: bool) -> Results:
        """What `find` finds, by its names. find: told whether it is asked again."""
        for tries in range(RETRIES_MAX):
            try:
                return self._queries.resolve(find(tries > 0), with_payload)
            except LookupError:
                continue  # one of the results was deleted and forgotten meanwhile: the next search does not find it
        raise Damaged(f"the index of {self.name!r} names a point that is not there; restore the directory from a backup")

    def get(self, tenant: str, refs: Sequence[Ref], *, with_payload: bool = True, with_vector: bool = False,
            skip_missing: bool = False) -> list[Record]:
        """Points by id, in that order. NotFound for the first that the tenant does not see, unless skip_missing. Invalid; QuotaExceeded."""
        if len(refs) > PAGE_MAX:
            raise Invalid(f"at most {PAGE_MAX} points at a time, not {len(refs)}")
        party = self._admit(tenant)
        ids = list(self._located(party, refs, skip_missing))
        return self._read(party, ids, with_payload, with_vector)

    def _located(self, party: Party, refs: Sequence[Ref], skip_missing: bool) -> Iterator[int]:
        for ref in refs:
            try:
                yield self._queries.locate(party, ref)
            except NotFound:
                if not skip_missing:
                    raise

    def scroll(self, tenant: str, filter: Wanted = None, *, limit: int = 100, cursor: str | None = None, with_payload: bool = True,
               with_vector: bool = False) -> Page:
        """All points that the tenant sees and the filter takes, page by page, each once: owner by owner, in the order of writing.

        What is written or deleted between two pages may be missing or there. Invalid for a limit out of 1 to PAGE_MAX, a filter,
        or a cursor of another tenant; QuotaExceeded.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise Invalid(f"limit is from 1 to {PAGE_MAX}, not {limit}")
        wanted = filters.parse(filter)
        party = self._admit(tenant)
        after = self._contents.cursors.open(party.number, cursor) if cursor is not None else None
        ids = self._queries.page(party, wanted, after, limit + 1).tolist()
        more = self._contents.cursors.seal(party.number, ids[limit - 1]) if len(ids) > limit else None
        return Page(self._read(party, ids[:limit], with_payload, with_vector), more)

    def _read(self, party: Party, ids: list[int], with_payload: bool, with_vector: bool) -> list[Record]:
        records = self._queries.records(ids, with_payload, with_vector)
        self._contents.tallies.add(party.number, points_read=len(records))
        return records

    def count(self, tenant: str, filter: Wanted = None) -> int:
        """How many points the tenant sees, or of those the filter takes. Invalid; QuotaExceeded."""
        wanted = filters.parse(filter)
        party = self._admit(tenant)
        return self._queries.count(party) if wanted is None else len(self._queries.matching(party, wanted))

    def recall(self, tenant: str | None = None) -> Recall | dict[str, Recall]:
        """Recall of sampled live queries: of one tenant, or of all by size class ('<500', '<2000', '<8000', '>=8000' visible points)."""
        judged = self._sampler.figures(self._contents.number)
        return judged.by_class() if tenant is None else judged.of(self._contents.parties.tenant(tenant).number)


def check_size(queries: int, k: Any) -> None:
    """Invalid for more queries or results than one batch has."""
    if isinstance(k, bool) or not isinstance(k, _INTEGER) or not 1 <= k <= K_MAX:
        raise Invalid(f"k is from 1 to {K_MAX}, not {k!r}")
    if queries > QUERIES_MAX or queries * k > RESULTS_MAX:
        raise Invalid(f"a batch has at most {QUERIES_MAX} queries and {RESULTS_MAX} results, not {queries} with {k} each")


def settings(exact: bool, budget: Any, patience: Any, recall: Any) -> dict[str, Any]:
    """Of a search, as the index takes them: those that are given. Invalid for one out of its range."""
    found: dict[str, Any] = {"exact": True} if exact else {}
    for name, value in (("budget", budget), ("patience", patience)):
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, _INTEGER) or not 1 <= value < 2**32:
                raise Invalid(f"{name} is from 1 to 2**32 - 1, not {value!r}")
            found[name] = value
    if recall is not None:
        if not isinstance(recall, (float, *_INTEGER, np.floating)) or not 0 < np.float32(recall) <= 1:
            raise Invalid(f"recall is above 0 and at most 1, not {recall!r}")
        found["recall"] = recall
    return found
