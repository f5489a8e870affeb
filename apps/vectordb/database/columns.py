"""Payloads of one owner by field: which rows hold which value, as bitmaps and sorted columns.

A column is built from some rows when a filter first asks for its field, and never changed; layers.py keeps it up with writes.
Rows deleted since are still in it: callers intersect with rows that they know to be visible.

There is a column for each thing that is asked of a field: its values, places, numbers of elements, or, for nested
filters, the objects in its array, which are rows of columns of their own. What is not asked for costs nothing.
"""
from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from pyroaring import BitMap

from .. import paths
from . import cells, filters, geo, predicates
from .ids import bitmap, numbers
from .model import Payload


class ColumnKey(NamedTuple):
    """What a column is of. inner: of an array of objects, the columns on them."""

    kind: str
    path: str
    inner: tuple[ColumnKey, ...] = ()


SCHEMAS = {**dict.fromkeys(("keyword", "integer", "float", "bool", "uuid", "text", "datetime"), "values"), "geo": "places"}
"""What payload indexes are of, and the kind of column that each is."""


def column_of(key: str, schema: str) -> ColumnKey:
    """Of a payload index on the path."""
    return ColumnKey(SCHEMAS[schema], key)


def key_of(condition: filters.Field_ | filters.NestedCondition) -> ColumnKey:
    """Of the column that answers the condition."""
    if isinstance(condition, filters.NestedCondition):
        return ColumnKey("objects", condition.nested.array, tuple(sorted(set(keys_of(condition.nested.filter)))))
    if condition.values_count is not None:
        return ColumnKey("counts", condition.key)
    is_geo = condition.geo_radius or condition.geo_bounding_box or condition.geo_polygon
    return ColumnKey("places" if is_geo else "values", condition.key)


def keys_of(wanted: filters.Filter) -> Iterator[ColumnKey]:
    """Of all the columns that the filter needs."""
    return (key_of(leaf) for leaf in wanted.leaves() if not isinstance(leaf, filters.HasId))


def make(keys: Iterable[ColumnKey], rows: Iterable[tuple[int, Payload]]) -> dict[ColumnKey, Column]:
    """The columns of the keys, in one reading of the rows."""
    columns = {key: _KINDS[key.kind](key) for key in keys}
    for row, payload in rows:
        for column in columns.values():
            column.add(row, payload)
    for column in columns.values():
        column.settle()
    return columns


class Ordered:
    """Numbers in order, each with its row."""

    def __init__(self, pairs: list[tuple[float, int]], dtype: type) -> None:
        values, rows = np.array([value for value, _ in pairs], dtype), np.array([row for _, row in pairs], np.uint32)
        order = np.argsort(values, kind="stable")
        self._values, self._rows = values[order], rows[order]
        self.size_bytes = values.nbytes + rows.nbytes

    def between(self, bounds: Any) -> BitMap:
        start, end = self._bounded(bounds)
        return bitmap(self._rows[start:end])  # none when they cross

    def first(self, among: BitMap, bounds: Any, descending: bool, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """(values, rows u32) of the first that are between the bounds and of those rows, and of others with the value of the last."""
        start, end = self._bounded(bounds)
        values, rows = self._values[start:end], self._rows[start:end]
        there = np.zeros(int(max(rows.max(initial=0), among.max() if among else 0)) + 1, bool)
        there[numbers(among)] = True
        kept = there[rows]
        kept[1:] &= (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])  # a row that has a value twice
        values, rows = values[kept], rows[kept]
        if descending and limit < len(values):
            last = np.searchsorted(values, values[-limit])
            return values[last:], rows[last:]
        return (values, rows) if descending else (values[:limit], rows[:limit])

    def _bounded(self, bounds: Any) -> tuple[int, int]:
        start, end = 0, len(self._values)
        for bound, side in ((bounds.gt, "right"), (bounds.gte, "left")):
            if bound is not None:
                start = max(start, int(np.searchsorted(self._values, bound, side)))
        for bound, side in ((bounds.lt, "left"), (bounds.lte, "right")):
            if bound is not None:
                end = min(end, int(np.searchsorted(self._values, bound, side)))
        return start, max(start, end)


class Column:
    """size_bytes is an estimate of what it holds in memory."""

    def __init__(self, key: ColumnKey) -> None:
        self._steps = paths.parse(key.path)
        self.size_bytes = 0

    def add(self, row: int, payload: Payload) -> None:
        """Rows come in order."""
        raise NotImplementedError

    def settle(self) -> None:
        """All rows were added."""

    def take(self, condition: Any, among: BitMap) -> BitMap:
        """The rows that the condition takes, at least those of `among`."""
        raise NotImplementedError

    def holding(self) -> BitMap:
        """The rows that have a value there."""
        raise NotImplementedError


class Values(Column):
    """For match, range, is_empty and is_null."""

    def __init__(self, key: ColumnKey) -> None:
        super().__init__(key)
        self._found: dict[Any, list[int]] = defaultdict(list)
        self._pairs: list[tuple[float, int]] = []
        self._empty, self._null = BitMap(), BitMap()

    def add(self, row: int, payload: Payload) -> None:
        found = paths.at(payload, self._steps)
        for value in predicates.scalars(found):
            self._found[predicates.token(value)].append(row)
            if (n := predicates.number(value)) is not None:
                self._pairs.append((n, row))
        if predicates.is_empty(found):
            self._empty.add(row)
        if predicates.is_null(found):
            self._null.add(row)

    def settle(self) -> None:
        self._numbers = Ordered(self._pairs, np.float64)
        # A value of one row, as an identifier is, costs an integer and no bitmap.
        self._rows: dict[Any, int | BitMap] = {value: at[0] if len(at) == 1 else BitMap(at) for value, at in self._found.items()}
        self.size_bytes = self._numbers.size_bytes + 160 * len(self._rows) + 4 * sum(map(len, self._found.values()))
        del self._found, self._pairs

    def holding(self) -> BitMap:
        return self._union(self._rows)

    def take(self, condition: filters.Field_, among: BitMap) -> BitMap:
        if condition.is_empty is not None:
            return self._empty if condition.is_empty else among - self._empty
        if condition.is_null is not None:
            return self._null if condition.is_null else among - self._null
        if condition.match is not None:
            return self._match(condition.match)
        return (self._times if isinstance(condition.range, filters.DatetimeRange) else self._numbers).between(condition.range)

    def _match(self, wanted: filters.Match) -> BitMap:
        if wanted.value is not None or wanted.any is not None:
            return self._union(map(predicates.token, [wanted.value] if wanted.any is None else wanted.any))
        accepts = predicates.acceptor(wanted)
        if wanted.text is None and wanted.text_any is None and wanted.phrase is None:
            return self._union(filter(accepts, self._rows))
        # Only a text with one of the words can be meant; of those, a phrase or a set of words looks at each.
        holding = (self._texts.get(word, ()) for word in set(predicates.words(wanted.text or wanted.text_any or wanted.phrase or "")))
        if wanted.text_any is not None:
            return self._union({text for texts in holding for text in texts})
        return self._union(filter(accepts, min(holding, key=len, default=())))

    def tally(self, among: BitMap) -> dict[Any, int]:
        """By token, how many of the rows have it."""
        return {token: (at in among) if isinstance(at, int) else at.intersection_cardinality(among) for token, at in self._rows.items()}

    def ordered(self, among: BitMap, start: float | None, descending: bool, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(values f64, rows u32): the first of the numbers and of the times, from `start` on."""
        bounds = filters.Range.model_construct(**{"lte" if descending else "gte": start})
        for each in (self._numbers, self._times):
            values, rows = each.first(among, bounds, descending, limit)
            yield values.astype(np.float64), rows

    def _union(self, tokens: Iterable[Any]) -> BitMap:
        rows = BitMap()
        for wanted in tokens:
            at = self._rows.get(wanted)
            if isinstance(at, int):
                rows.add(at)
            elif at is not None:
                rows |= at
        return rows

    @cached_property
    def _times(self) -> Ordered:
        """Made when a range of times is first asked for."""
        pairs: list[tuple[float, int]] = []
        for value, at in self._rows.items():
            if (when := predicates.time(value)) is not None:
                pairs.extend((when, row) for row in ((at,) if isinstance(at, int) else at))
        ordered = Ordered(pairs, np.int64)
        self.size_bytes += ordered.size_bytes
        return ordered

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        """By word the texts that have it; made when words are first asked for."""
        texts = defaultdict[str, list[str]](list)
        for value in self._rows:
            for word in set(predicates.words(value)) if isinstance(value, str) else ():
                texts[word].append(value)
        self.size_bytes += 150 * len(texts) + 8 * sum(map(len, texts.values()))
        return dict(texts)


class Places(Column):
    """For geo conditions."""

    def __init__(self, key: ColumnKey) -> None:
        super().__init__(key)
        self._rows, self._degrees = array("I"), array("d")

    def add(self, row: int, payload: Payload) -> None:
        for value in predicates.scalars(paths.at(payload, self._steps)):
            if (place := geo.place(value)) is not None:
                self._rows.append(row)
                self._degrees.extend(place)

    def settle(self) -> None:
        lon, lat = np.frombuffer(self._degrees, np.float64).reshape(-1, 2).T
        codes = cells.codes(lon, lat)
        order = np.argsort(codes, kind="stable")
        self._codes, self._lon, self._lat = codes[order], lon[order], lat[order]
        self._at = np.frombuffer(self._rows, np.uint32)[order]
        self.size_bytes = 24 * len(order)

    def holding(self) -> BitMap:
        return bitmap(self._at)
        del self._rows, self._degrees

    def take(self, condition: filters.Field_, among: BitMap) -> BitMap:
        near = cells.near(self._codes, geo.boxes(condition))
        return bitmap(self._at[near[geo.inside(condition)(self._lon[near], self._lat[near])]])


class Counts(Column):
    """For values_count."""

    def __init__(self, key: ColumnKey) -> None:
        super().__init__(key)
        self._pairs: list[tuple[float, int]] = []

    def add(self, row: int, payload: Payload) -> None:
        self._pairs.extend((count, row) for count in predicates.counts(paths.at(payload, self._steps)))

    def settle(self) -> None:
        self._counts = Ordered(self._pairs, np.int64)
        self.size_bytes = self._counts.size_bytes
        del self._pairs

    def take(self, condition: filters.Field_, among: BitMap) -> BitMap:
        return self._counts.between(condition.values_count)


class Objects(Column):
    """For nested filters: the objects in an array are numbered, and are rows of columns of their own."""

    def __init__(self, key: ColumnKey) -> None:
        super().__init__(key)
        self._rows = array("I")
        self._columns = {inner: _KINDS[inner.kind](inner) for inner in key.inner}

    def add(self, row: int, payload: Payload) -> None:
        for each in predicates.objects(paths.at(payload, self._steps)):
            for column in self._columns.values():
                column.add(len(self._rows), each)
            self._rows.append(row)

    def settle(self) -> None:
        for column in self._columns.values():
            column.settle()
        self.size_bytes = 4 * len(self._rows) + sum(column.size_bytes for column in self._columns.values())

    def take(self, condition: filters.NestedCondition, among: BitMap) -> BitMap:
        every = BitMap(range(len(self._rows)))
        taken = evaluate(condition.nested.filter, every, self._columns.__getitem__, lambda condition: set())
        return bitmap(np.frombuffer(self._rows, np.uint32)[numbers(taken)])


_KINDS: dict[str, type[Column]] = {"values": Values, "places": Places, "counts": Counts, "objects": Objects}
Columns = Callable[[ColumnKey], Column]
Named = Callable[[filters.HasId], set[int]]


def evaluate(wanted: filters.Filter, among: BitMap, column: Columns, has_id: Named) -> BitMap:
    """The rows of `among` that the filter takes."""
    rows = among.copy()
    for part in wanted.must:
        rows &= _rows(part, rows, column, has_id)
    for part in wanted.must_not:
        rows -= _rows(part, rows, column, has_id)
    if wanted.should:
        rows &= BitMap.union(*[_rows(part, rows, column, has_id) for part in wanted.should])
    if wanted.min_should is not None:
        rows = _taken_by(wanted.min_should.min_count, rows, [_rows(part, rows, column, has_id) for part in wanted.min_should.conditions])
    return rows


def _rows(condition: filters.Condition, among: BitMap, column: Columns, has_id: Named) -> BitMap:
    if isinstance(condition, filters.Filter):
        return evaluate(condition, among, column, has_id)
    if isinstance(condition, filters.HasId):
        return BitMap(has_id(condition))
    return column(key_of(condition)).take(condition, among)


def _taken_by(least: int, among: BitMap, sets: list[BitMap]) -> BitMap:
    """The rows of `among` that are in at least so many of the sets."""
    rows = numbers(among)
    times = np.zeros(len(rows), np.uint16)
    for each in sets:
        times[np.searchsorted(rows, numbers(each & among))] += 1
    return bitmap(rows[times >= least])
