"""Reads by payload: which values there are, points in the order of a field, and the fields that a tenant wants at hand."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import nsmallest
from typing import Any, NamedTuple

import numpy as np

from . import filters, payloads, times
from .columns import SCHEMAS, ColumnKey, column_of
from .contents import index_ids
from .errors import Invalid
from .model import PAGE_MAX, Record
from .namespace import Namespace
from .parties import INDEXES_MAX, Party
from .reads import ReadOperations, Wanted
from .records import Change


class ValueCount(NamedTuple):
    """count: of points. value: a text, integer or bool."""

    value: Any
    count: int


class IndexInfo(NamedTuple):
    """points: those that the tenant owns and that have a value there."""

    key: str
    schema: str
    points: int


class BrowseOperations(ReadOperations):
    def facet(self, tenant: str, key: str, filter: Wanted = None, *, limit: int = 10) -> list[ValueCount]:
        """The most frequent values at the path `key` of the points that the tenant sees and the filter takes, and of how many points they
        are; of the same number by value, bools first, then integers and texts. Other values are left out; 1.0 is 1.

        Invalid for a path, a filter, or a limit out of 1 to PAGE_MAX; NotFound for the tenant; QuotaExceeded.
        """
        column, wanted = _values(key), filters.parse(filter)
        _check_limit(limit)
        counts: Counter[Any] = Counter()
        for _, values, rows in self._parts(self._admit(tenant), wanted, column):
            counts.update(values.tally(rows))
        shown = ((-count, *_facet(token)) for token, count in counts.items() if count and _facet(token))
        return [ValueCount(value, -less) for less, _, value in nsmallest(limit, shown)]

    def scroll_ordered(self, tenant: str, key: str, filter: Wanted = None, *, limit: int = 100, descending: bool = False,
                       start_from: float | str | None = None, with_payload: bool = True,
                       with_vector: bool = False) -> list[tuple[float, Record]]:
        """The first points in the order of the numbers and times at the path `key`, each with its value there, times as microseconds since
        1970. A point with several comes several times, one without never.

        start_from: the value to begin with, a number or the text of a time. Invalid for it, a path, a filter, or a limit out of 1 to PAGE_MAX;
        NotFound for the tenant; QuotaExceeded.
        """
        column, wanted, start = _values(key), filters.parse(filter), _start(start_from)
        _check_limit(limit)
        party = self._admit(tenant)
        values, ids = [np.empty(0)], [np.empty(0, np.uint64)]
        for owner, part, rows in self._parts(party, wanted, column):
            for found, at in part.ordered(rows, start, descending, limit):
                values.append(found)
                ids.append(index_ids(owner, at))
        by, points = np.concatenate(values), np.concatenate(ids)
        first = np.lexsort((points, -by if descending else by))[:limit]
        pairs = list(zip(by[first].tolist(), points[first].tolist(), strict=True))
        records = self._read(party, [point for _, point in pairs], with_payload, with_vector)
        if len(records) == len(pairs):
            return [(value, record) for (value, _), record in zip(pairs, records, strict=True)]
        # Some were deleted meanwhile.
        return [(value, record) for value, point in pairs for record in self._queries.records([point], with_payload, with_vector)]

    def _parts(self, party: Party, wanted: filters.Filter | None, key: ColumnKey) -> Iterator[tuple[int, Any, Any]]:
        """(owner, column, rows): all rows in question, each once, with a column that speaks of it."""
        for owner, rows in self._queries.rows(party, wanted).items():
            for column, part in self._contents.namespace(owner).parts(key, rows):
                yield owner, column, part

    def create_payload_index(self, tenant: str, key: str, schema: str = "keyword") -> None:
        """Reads the values at the path `key` of the tenant's own points now, and again, with those of its other indexes, when it next asks for
        one after the database was opened. Filters find the same without. Again: another schema.

        Invalid for a path, a schema that is none of SCHEMAS, or more than INDEXES_MAX; NotFound for the tenant; QuotaExceeded.
        """
        if schema not in SCHEMAS:
            raise Invalid(f"a payload index is of one of {', '.join(SCHEMAS)}, not {schema[:40]!r}")
        self._admit(tenant)
        namespace = self._index(tenant, key, schema)
        namespace.columns(namespace.declared)

    def delete_payload_index(self, tenant: str, key: str) -> None:
        """Forgets it, if there is one. NotFound for the tenant; Invalid for a path; QuotaExceeded."""
        self._admit(tenant)
        self._index(tenant, key, None)

    def _index(self, tenant: str, key: str, schema: str | None) -> Namespace:
        payloads.steps(key)
        with self._journal.writing() as write:
            party = self._contents.parties.tenant(tenant)
            indexes = {key: schema for key, schema in {**party.indexes, key: schema}.items() if schema}
            if len(indexes) > INDEXES_MAX:
                raise Invalid(f"a tenant has at most {INDEXES_MAX} payload indexes in a collection")
            if indexes != party.indexes:
                self._commit(write, Change(party=party.freeze()._replace(indexes=indexes).message()))
            return self._contents.namespace(party.number)

    def payload_indexes(self, tenant: str) -> list[IndexInfo]:
        """Those of the tenant. NotFound; QuotaExceeded."""
        party = self._admit(tenant)
        namespace = self._contents.namespace(party.number)
        return [IndexInfo(key, schema, namespace.holding(column_of(key, schema))) for key, schema in party.indexes.items()]


def _values(key: str) -> ColumnKey:
    payloads.steps(key)
    return ColumnKey("values", key)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= PAGE_MAX:
        raise Invalid(f"limit is from 1 to {PAGE_MAX}, not {limit}")


def _start(given: float | str | None) -> float | None:
    found = times.parse(given) if isinstance(given, str) else given
    if given is not None and (found is None or found != found):
        raise Invalid(f"start_from is a number or a time such as 2026-01-31T12:00:00Z, not {str(given)[:40]!r}")
    return found


def _facet(token: Any) -> tuple[int, Any] | None:
    """(rank of its type, value) of a token that facets have."""
    if isinstance(token, tuple):
        return 0, token[0]
    if isinstance(token, str):
        return 2, token
    return (1, int(token)) if isinstance(token, int | float) and token == token // 1 else None
