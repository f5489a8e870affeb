"""A column that is kept up with writes: layers, of which a younger one holds all that it says of its rows.

Columns never change. What was written since the youngest layer was made becomes a layer of its own when a reader next asks; it takes in
those below that are not much larger, so that there are few, and a row is read anew a few times in its life.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pyroaring import BitMap, FrozenBitMap

from .columns import Column, ColumnKey, make
from .model import Payload

TAKEN_IN = 4  # a layer is taken in by one that has a quarter of its rows

Read = Callable[[Iterable[int]], Iterator[tuple[int, Payload]]]


class Layer(NamedTuple):
    """rows: those of which the column speaks, also where it has nothing to say."""

    rows: FrozenBitMap
    column: Column


class Layers(NamedTuple):
    """built_at: how many changes it knows of."""

    layers: tuple[Layer, ...]
    built_at: int

    @property
    def size_bytes(self) -> int:
        return sum(each.column.size_bytes for each in self.layers)

    def parts(self, among: BitMap) -> Iterator[tuple[Column, BitMap]]:
        """The columns, and for which rows of `among` to ask each."""
        left = among
        for rows, column in reversed(self.layers):
            yield column, left & rows
            left = left - rows

    def take(self, condition: Any, among: BitMap) -> BitMap:
        """The rows that the condition takes, at least those of `among`."""
        if len(self.layers) == 1:
            return self.layers[0].column.take(condition, among)
        return BitMap.union(*(column.take(condition, rows) & rows for column, rows in self.parts(among)))

    def since(self, cut: int) -> Layers:
        """The same where the first `cut` changes are no longer counted."""
        return self._replace(built_at=self.built_at - cut)


def renewed(keys: Iterable[ColumnKey], old: Mapping[ColumnKey, Layers], changes: Sequence[int], alive: Callable[[], BitMap],
            read: Read) -> dict[ColumnKey, Layers]:
    """The columns of the keys with all changes. alive: the rows that there are; read: payloads of rows, in order."""
    built_at = len(changes)  # before anything is looked at: what comes meanwhile is told again
    plans: dict[FrozenBitMap, dict[ColumnKey, tuple[Layer, ...]]] = defaultdict(dict)
    there = alive()
    for key in keys:
        kept, rows = _plan(old.get(key), changes, there)
        plans[rows][key] = kept
    found: dict[ColumnKey, Layers] = {}
    for rows, alike in plans.items():
        made = make(alike, read(rows))
        for key, kept in alike.items():
            found[key] = Layers((*kept, Layer(rows, made[key])) if rows or not kept else kept, built_at)
    return found


def _plan(old: Layers | None, changes: Sequence[int], there: BitMap) -> tuple[tuple[Layer, ...], FrozenBitMap]:
    """The layers that stay, and the rows of a new one."""
    if old is None:
        return (), FrozenBitMap(there)
    kept, rows = list(old.layers), BitMap(changes[old.built_at:])
    while rows and kept and len(kept[-1].rows) <= TAKEN_IN * len(rows):
        rows |= kept.pop().rows
    return tuple(kept), FrozenBitMap(rows & there)
