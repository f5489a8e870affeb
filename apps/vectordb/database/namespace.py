"""The points that one tenant owns: their keys and payloads by row.

Rows are handed out in order and never twice. Those below `first` are in a segment, the part of a snapshot that is mapped
and never changed; later ones are in two lists that only grow. A payload written anew for a row of the segment is in
`patched`; deleted rows are in `dead`, and leave when the next snapshot is made. It is written of a Frozen, while writers go on; settle()
then keeps what they did since.

Writers hold the database's lock. Readers take no lock: they fetch `state` once, and every step of theirs on it is one
operation of the interpreter. A row stays readable in the state in which it was found, even when it is deleted meanwhile.
What only some calls need (`Warm`: rows by key, columns by field) is made on first use, under a lock of its own, and may
be dropped at any time. A writer makes it before it writes, so whoever builds it sees no write meanwhile.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import chain
from typing import NamedTuple

from pyroaring import BitMap

from . import filters, payloads, predicates
from .columns import Column, ColumnKey, evaluate, keys_of, make
from .errors import Invalid
from .ids import ROWS_MAX
from .layers import Layers, renewed
from .model import Payload
from .segments import NOTHING, Segment

SCAN_MAX = 256          # up to so many rows are tested one by one
CHANGES_MAX = 4096      # and as many as there are rows: then the older half is forgotten, with the columns that lack it
COLUMNS_MAX = 256       # of an owner: then the oldest goes


class State:
    __slots__ = ("segment", "first", "keys", "payloads", "patched", "dead")

    def __init__(self, segment: Segment, first: int) -> None:
        self.segment, self.first = segment, first
        self.keys: list[int] = []
        self.payloads: list[bytes] = []
        self.patched: dict[int, bytes] = {}
        self.dead = BitMap()

    def key(self, row: int) -> int:
        """LookupError for a row that an older state had."""
        return self.keys[row - self.first] if row >= self.first else self.segment.key(row)

    def payload(self, row: int) -> bytes:
        """LookupError likewise."""
        if row >= self.first:
            return self.payloads[row - self.first]
        patched = self.patched.get(row)
        return self.segment.payload(row) if patched is None else patched

    def rows(self) -> BitMap:
        """Those that are alive."""
        rows = self.segment.every.copy()
        rows.add_range(self.first, self.first + len(self.payloads))
        return rows - self.dead


class Frozen(NamedTuple):
    """The points of an owner as they were at one moment."""

    owner: int
    next_row: int
    size: int
    payload_bytes: int
    state: State

    @staticmethod
    def of(owner: int, segment: Segment, next_row: int, payload_bytes: int) -> Frozen:
        return Frozen(owner, next_row, len(segment.rows), payload_bytes, State(segment, next_row))


class Warm:
    """Rows by key, columns by field, and, once there is a column, the rows written since."""

    __slots__ = ("lookup", "columns", "changes", "tracking")

    def __init__(self, lookup: dict[int, int]) -> None:
        self.lookup = lookup
        self.columns: dict[ColumnKey, Layers] = {}
        self.changes: list[int] = []
        self.tracking = False

    @staticmethod
    def of(state: State) -> Warm:
        rows = chain(state.segment.rows.tolist(), range(state.first, state.first + len(state.keys)))
        pairs = zip(chain(state.segment.keys(), state.keys), rows, strict=True)
        return Warm({key: row for key, row in pairs if row not in state.dead} if state.dead else dict(pairs))

    @property
    def size_bytes(self) -> int:
        return 120 * len(self.lookup) + sum(column.size_bytes for column in list(self.columns.values()))

    def younger(self) -> Warm:
        """The same without the older half of the changes, and without the columns that lack some of it."""
        fresh, cut = Warm(self.lookup), len(self.changes) // 2
        fresh.changes, fresh.tracking = self.changes[cut:], True
        fresh.columns = {key: column.since(cut) for key, column in self.columns.items() if column.built_at >= cut}
        return fresh


class Namespace:
    def __init__(self, owner: int, segment: Segment = NOTHING, next_row: int = 0, payload_bytes: int = 0) -> None:
        self.owner = owner
        self.state = State(segment, next_row)
        self.size = len(segment.rows)
        self.payload_bytes = payload_bytes
        self._replaced: set[int] = set()  # rows with a new payload since it was frozen
        self._warm: Warm | None = None
        self._warming = threading.Lock()
        self.declared: frozenset[ColumnKey] = frozenset()  # columns that the owner wants at hand

    # For readers.
    def warm(self) -> Warm:
        warm = self._warm
        if warm is None:
            with self._warming:
                warm = self._warm = self._warm or Warm.of(self.state)
        return warm

    def cool(self) -> None:
        """Drops what can be made again."""
        with self._warming:
            self._warm = None

    @property
    def warm_bytes(self) -> int:
        warm = self._warm
        return warm.size_bytes if warm else 0

    def rows(self) -> BitMap:
        """Those that are alive: what the owner sees of them."""
        return self.state.rows()

    def matching(self, wanted: filters.Filter, among: BitMap, named: Callable[[filters.HasId], list[int]]) -> BitMap:
        """Those rows of `among` that the filter takes. named: the keys that a has_id means here."""
        def has_id(condition: filters.HasId) -> set[int]:
            lookup = self.warm().lookup
            return {lookup[key] for key in named(condition) if key in lookup}

        if len(among) > SCAN_MAX:
            return evaluate(wanted, among, self.columns(set(keys_of(wanted))).__getitem__, has_id)
        test = predicates.compile_test(wanted, has_id)
        return BitMap([row for row, payload in self.read(among) if test(row, payload)])

    def read(self, rows: Iterable[int]) -> Iterator[tuple[int, Payload]]:
        """Payloads of rows, without those that were deleted and forgotten meanwhile."""
        state = self.state
        for row in rows:
            try:
                text = state.payload(row)
            except LookupError:
                continue
            yield row, payloads.unpack(text)

    def parts(self, key: ColumnKey, among: BitMap) -> Iterator[tuple[Column, BitMap]]:
        """Columns of the key, and for which rows of `among` to ask each."""
        if len(among) <= SCAN_MAX:
            yield make([key], self.read(among))[key], among
        else:
            yield from self.columns({key})[key].parts(among)

    def holding(self, key: ColumnKey) -> int:
        """How many rows have a value at the key."""
        return sum(len(column.holding() & rows) for column, rows in self.parts(key, self.rows()))

    def columns(self, keys: Set[ColumnKey]) -> dict[ColumnKey, Layers]:
        """The columns of the keys, as of now: what is missing is read from payloads, once for all keys. When much is, for those that
        are declared too."""
        warm = self.warm()
        found = {key: column for key in keys if (column := warm.columns.get(key)) and column.built_at == len(warm.changes)}
        if len(found) < len(keys):
            with self._warming:
                warm.tracking = True  # before it looks: what changes from here on is noted
                if any(key not in warm.columns for key in keys):
                    keys = keys | self.declared
                built = renewed(keys, warm.columns, warm.changes, self.rows, self.read)
                warm.columns.update(built)
                while len(warm.columns) > COLUMNS_MAX:
                    del warm.columns[next(iter(warm.columns))]
            found |= built
        return found

    @property
    def next_row(self) -> int:
        return self.state.first + len(self.state.payloads)

    # For the writer.
    def take_rows(self, count: int) -> range:
        """The numbers that the next `count` new points will have."""
        start = self.next_row
        if start + count > ROWS_MAX:
            raise Invalid("this tenant has written 2**32 points; export it and import it under a new name")
        return range(start, start + count)

    def add(self, keys: Sequence[int], texts: Sequence[bytes]) -> None:
        """New points, at the rows that take_rows gave."""
        warm, rows = self.warm(), self.take_rows(len(texts))
        self.state.keys.extend(keys)
        self.state.payloads.extend(texts)
        self.size += len(rows)
        self.payload_bytes += sum(map(len, texts))
        warm.lookup.update(zip(keys, rows, strict=True))
        self._note(warm, rows)

    def replace(self, rows: Sequence[int], texts: Sequence[bytes]) -> None:
        """New payloads for rows that are there."""
        warm, state = self.warm(), self.state
        for row, text in zip(rows, texts, strict=True):
            self.payload_bytes += len(text) - len(state.payload(row))
            self._replaced.add(row)
            if row >= state.first:
                state.payloads[row - state.first] = text
            else:
                state.patched[row] = text
        self._note(warm, rows)

    def remove(self, rows: Sequence[int]) -> None:
        warm, state = self.warm(), self.state
        for row in rows:
            del warm.lookup[state.key(row)]
            self.payload_bytes -= len(state.payload(row))
        state.dead.update(rows)
        self.size -= len(rows)

    @property
    def changed(self) -> bool:
        """Since the segment was written."""
        state = self.state
        return bool(state.payloads or state.patched or state.dead)

    def freeze(self) -> Frozen:
        """All of it as of now, to be written while it changes."""
        now, then = self.state, State(self.state.segment, self.state.first)
        then.keys, then.payloads = now.keys, now.payloads.copy()  # keys only grow, and count as far as there are payloads
        then.patched, then.dead = now.patched.copy(), now.dead.copy()
        self._replaced = set()
        return Frozen(self.owner, self.next_row, self.size, self.payload_bytes, then)

    def settle(self, segment: Segment, frozen: Frozen | None) -> None:
        """The segment holds it as it was frozen last, or as it was in the present segment (None)."""
        old = self.state
        first, replaced, dead = (frozen.next_row, self._replaced, frozen.state.dead) if frozen else (old.first, old.patched, BitMap())
        fresh = State(segment, first)
        fresh.keys, fresh.payloads = old.keys[first - old.first:], old.payloads[first - old.first:]
        fresh.patched = {row: old.payload(row) for row in replaced if row < first}
        fresh.dead = old.dead - dead
        self.state = fresh

    def _note(self, warm: Warm, rows: Iterable[int]) -> None:
        if not warm.tracking:
            return
        warm.changes.extend(rows)
        if len(warm.changes) > CHANGES_MAX + self.size:
            with self._warming:
                self._warm = warm.younger()
