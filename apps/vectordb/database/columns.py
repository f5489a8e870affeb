"""The payloads of one owner by field: which rows hold which value, as bitmaps and a sorted column.

A column is built when a filter first asks for its field, from the rows that are there, and never changed: rows written
later are on the owner's list of changes, from `built_at` on, and are tested one by one until there are too many of them.
Rows deleted since are still in it: callers intersect with rows that they know to be visible.
"""
from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pyroaring import BitMap

from . import filters, payloads
from .model import Payload


def bitmap(rows: np.ndarray) -> BitMap:
    """u32[n] as a bitmap, at the speed of a copy."""
    return BitMap(array("I", rows.tobytes()))


class Column:
    """One field. size_bytes is an estimate of what it holds in memory."""

    def __init__(self, rows: Iterable[tuple[int, Payload]], path: str, built_at: int) -> None:
        self.built_at = built_at
        found: dict[Any, list[int]] = defaultdict(list)
        numbers: list[tuple[float, int]] = []
        empty, null = [], []
        for row, payload in rows:
            for value in payloads.scalars(payload, path):
                found[payloads.token(value)].append(row)
                if (n := payloads.number(value)) is not None:
                    numbers.append((n, row))
            if payloads.is_empty(payload, path):
                empty.append(row)
            if payloads.is_null(payload, path):
                null.append(row)
        numbers.sort()
        self._numbers = np.array([n for n, _ in numbers], np.float64)
        self._number_rows = np.array([row for _, row in numbers], np.uint32)
        # A value of one row, as an identifier is, costs an integer and no bitmap.
        self._rows: dict[Any, int | BitMap] = {value: at[0] if len(at) == 1 else BitMap(at) for value, at in found.items()}
        self.empty, self.null = BitMap(empty), BitMap(null)
        self.size_bytes = 12 * len(numbers) + 160 * len(self._rows) + 4 * sum(map(len, found.values()))

    def match(self, wanted: filters.Match) -> BitMap:
        if wanted.value is not None or wanted.any is not None:
            values = [wanted.value] if wanted.any is None else wanted.any
            return self._union(map(payloads.token, values))
        return self._union(filter(payloads.acceptor(wanted), self._rows))

    def _union(self, tokens: Iterable[Any]) -> BitMap:
        rows = BitMap()
        for wanted in tokens:
            at = self._rows.get(wanted)
            if isinstance(at, int):
                rows.add(at)
            elif at is not None:
                rows |= at
        return rows

    def range(self, bounds: filters.Range) -> BitMap:
        start, end = 0, len(self._numbers)
        for bound, side in ((bounds.gt, "right"), (bounds.gte, "left")):
            if bound is not None:
                start = max(start, int(np.searchsorted(self._numbers, bound, side)))
        for bound, side in ((bounds.lt, "left"), (bounds.lte, "right")):
            if bound is not None:
                end = min(end, int(np.searchsorted(self._numbers, bound, side)))
        return bitmap(self._number_rows[start:end])  # none when they cross


def evaluate(wanted: filters.Filter, among: BitMap, column: Callable[[str], Column],
             has_id: Callable[[filters.HasId], set[int]]) -> BitMap:
    """The rows of `among` that the filter takes."""
    rows = among.copy()
    for part in wanted.must:
        rows &= _rows(part, rows, column, has_id)
    for part in wanted.must_not:
        rows -= _rows(part, rows, column, has_id)
    if wanted.should:
        rows &= BitMap.union(*[_rows(part, rows, column, has_id) for part in wanted.should])
    return rows


def _rows(condition: filters.Condition, among: BitMap, column: Callable[[str], Column],
          has_id: Callable[[filters.HasId], set[int]]) -> BitMap:
    match condition:
        case filters.Filter():
            return evaluate(condition, among, column, has_id)
        case filters.HasId():
            return BitMap(has_id(condition))
        case filters.IsEmpty(is_empty=where):
            return column(where.key).empty
        case filters.IsNull(is_null=where):
            return column(where.key).null
        case filters.Field_(key=path, match=None, range=bounds):
            return column(path).range(bounds)
        case filters.Field_(key=path, match=match):
            return column(path).match(match)
    raise AssertionError(condition)
