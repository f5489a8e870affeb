"""Reads of a collection's contents: what a tenant sees, which of it a filter takes, and points by id. No locks.

A tenant that was granted points of others sees them mixed with its own; a filter is evaluated for each owner, on the rows
of it that the tenant sees and on nothing else, so that neither a count nor the time it takes tells of what it does not see.
"""
from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from pyroaring import BitMap

from . import filters
from .contents import Contents, index_ids
from .errors import Invalid, NotFound
from .ids import ROWS_MAX, bitmap, id_of, key_of, numbers
from .model import ANSWER_BYTES_MAX, PAYLOAD_BYTES_MAX, PointId, Record, Ref, Results, Sparse
from .namespace import State
from .parties import Party
from .sparse.columns import PAIR_BYTES

CACHED_MAX = 64
FEW = 24    # points, of which each by itself is named sooner than all by arrays
ROW = 2**32 - 1  # of an index id: its lower half
_EMPTY = np.empty(0, np.uint64)

Pace = Callable[[], tuple[int, int]]
"""Asked before each piece of a batch: how many queries it has, and on how many threads it may run. May sleep, to let others go first."""


class Nearest(NamedTuple):
    """What the index found for a batch of queries, one query after the other."""

    ids: np.ndarray        # u64 [n], of the index
    distances: np.ndarray  # f32 [n]
    counts: list[int]      # of each query

    @staticmethod
    def joined(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> Nearest:
        """Of (ids, distances) of each query."""
        ids, distances = zip(*found, strict=True) if found else ([_EMPTY], [np.empty(0, np.float32)])
        return Nearest(np.concatenate(ids), np.concatenate(distances).astype(np.float32), [len(each) for each, _ in found])


NOTHING = Nearest(_EMPTY, np.empty(0, np.float32), [])


def split(party: Party, ref: Ref) -> tuple[str, PointId]:
    """(owner, id) of a reference that the tenant makes. Invalid for what is neither an id nor a pair."""
    if not isinstance(ref, tuple):
        return party.name, ref
    if len(ref) != 2 or not isinstance(ref[0], str):
        raise Invalid("a point of another is named by a pair (owner, id)")
    return ref


def by_owner(ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Index ids u64[n], ascending, as rows u32 of each owner."""
    owners = (ids >> np.uint64(32)).astype(np.uint32)
    starts = np.flatnonzero(np.diff(owners, prepend=np.uint32(0)))  # no owner has the number 0
    return zip(owners[starts].tolist(), np.split(ids.astype(np.uint32), starts[1:]) if len(ids) else (), strict=True)


def _ids_of(rows: Mapping[int, BitMap]) -> np.ndarray:
    return np.concatenate([_EMPTY, *(index_ids(owner, numbers(taken)) for owner, taken in rows.items())])


class Queries:
    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._cache: OrderedDict[Any, tuple[int, Any]] = OrderedDict()

    def seen(self, party: Party) -> dict[int, BitMap]:
        """The rows of each owner that the tenant sees, by owners' numbers, ascending."""
        rows = {owner: rows & self._contents.namespace(owner).rows() for owner, rows in self._granted(party).items()}
        rows[party.number] = self._contents.namespace(party.number).rows()
        return {owner: rows[owner] for owner in sorted(rows) if rows[owner]}

    def _granted(self, party: Party) -> dict[int, BitMap]:
        """Of what others granted it and its roles: maybe also rows that are gone by now."""
        scope = party.scope  # once: its roles may change meanwhile, and what they were granted may not be kept under other names
        return self._remembered(("granted", scope), [self._contents.granted[number] for number in scope], lambda: self._read_granted(scope))

    def _read_granted(self, scope: tuple[int, ...]) -> dict[int, BitMap]:
        index, granted = self._contents.index, defaultdict[int, BitMap](BitMap)
        for ids in self._contents.resting.awake(scope, lambda: [
                index.ids(number, limit=count) for number in scope if (count := index.count(number))]):
            for owner, rows in by_owner(ids):
                if owner != scope[0]:
                    granted[owner] |= bitmap(rows)
        return dict(granted)

    def count(self, party: Party) -> int:
        """How many the tenant sees."""
        return self._contents.index.count(party.number) if len(party.scope) == 1 else sum(map(len, self.seen(party).values()))

    def page(self, party: Party, wanted: filters.Filter | None, after: int | None, limit: int) -> np.ndarray:
        """The first of what the tenant sees and the filter takes, behind the id `after`: index ids, ascending."""
        if wanted is None and len(party.scope) == 1:
            return self._contents.resting.awake(party.scope, lambda: self._contents.index.ids(party.number, after, limit))
        ids = self.matching(party, wanted)
        start = 0 if after is None else int(np.searchsorted(ids, np.uint64(after), "right"))
        return ids[start:start + limit]

    def nearest(self, party: Party, queries: np.ndarray, k: int, wanted: filters.Filter | None, how: dict[str, Any],
                pace: Pace | None = None) -> Nearest:
        """For each query [n, dim] the nearest, at most k, nearest first. pace: None: all in one piece, on this thread."""
        if wanted is not None:
            how = {**how, "where": self.predicate(party, wanted)}
        scope = party.scope  # once: a role that it gets meanwhile may rest
        return self._contents.resting.awake(scope, lambda: self._in_pieces(scope, queries, k, how, pace))

    def _in_pieces(self, scope: tuple[int, ...], queries: np.ndarray, k: int, how: dict[str, Any],
                   pace: Pace | None) -> Nearest:
        if pace is None or len(queries) < 2:
            return self._ask(scope, queries, k, how)
        found, start = [], 0
        while start < len(queries):
            size, threads = pace()
            found.append(self._ask(scope, queries[start:start + size], k, how, threads))
            start += size
        if len(found) == 1:
            return found[0]
        ids, distances, counts = zip(*found, strict=True)
        return Nearest(np.concatenate(ids), np.concatenate(distances), list(chain.from_iterable(counts)))

    def _ask(self, scope: tuple[int, ...], queries: np.ndarray, k: int, how: dict[str, Any], threads: int = 1) -> Nearest:
        if not len(queries):
            return NOTHING
        index, single = self._contents.index, len(scope) == 1
        if single and len(queries) > 1:
            ids, distances, counts = index.search_many(queries, k, scope[0], threads=threads, **how)
            there = np.arange(k) < counts[:, None]
            return Nearest(ids[there], distances[there], counts.tolist())
        found = [index.search(query, k, scope[0] if single else list(scope), **how) for query in queries]
        if len(found) == 1:
            return Nearest(*found[0], [len(found[0][0])])
        return Nearest.joined(found)

    def matching(self, party: Party, wanted: filters.Filter | None) -> np.ndarray:
        """Index ids u64[n], ascending, of what the tenant sees and the filter takes."""
        if wanted is None:
            return _ids_of(self.seen(party))
        return self._remembered(("ids", party.scope, wanted.model_dump_json()), self._contents.version,
                                lambda: _ids_of(self.rows(party, wanted)))

    def predicate(self, party: Party, wanted: filters.Filter) -> Any:
        """The same as the index's predicate."""
        return self._remembered(("predicate", party.scope, wanted.model_dump_json()), self._contents.version,
                                lambda: self._contents.index.predicate(self.matching(party, wanted)))

    def _remembered(self, name: Any, version: Any, work_out: Callable[[], Any]) -> Any:
        cached = self._cache.get(name)
        if cached is not None and cached[0] == version:
            return cached[1]
        value = work_out()
        self._cache[name] = version, value
        while len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return value

    def rows(self, party: Party, wanted: filters.Filter | None) -> dict[int, BitMap]:
        """The same by owner."""
        seen = self.seen(party)
        if wanted is None:
            return seen
        return {owner: self._contents.namespace(owner).matching(wanted, rows, self._named(party, owner)) for owner, rows in seen.items()}

    def own_matching(self, party: Party, wanted: filters.Filter) -> np.ndarray:
        """Rows u32[n] of the tenant's own points that the filter takes."""
        namespace = self._contents.namespace(party.number)
        return numbers(namespace.matching(wanted, namespace.rows(), self._named(party, party.number)))

    def _named(self, party: Party, owner: int) -> Any:
        def keys(condition: filters.HasId) -> list[int]:
            refs = [split(party, ref) for ref in condition.has_id]
            return [key_of(point) for name, point in refs if (found := self._contents.parties.find(name)) and found.number == owner]

        return keys

    def locate(self, party: Party, ref: Ref) -> int:
        """The index id of a point that the tenant sees. NotFound, whether it is not there or not to be seen."""
        owner_name, point = split(party, ref)
        owner, key = self._contents.parties.find(owner_name), key_of(point)
        row = self._find(party, owner.number, key) if owner else None
        if row is None:
            raise NotFound(f"there is no point {point!r} of {owner_name!r}")
        return owner.number << 32 | row

    def _find(self, party: Party, owner: int, key: int) -> int | None:
        """The row of a point that the tenant sees. Of another's it takes as long to find that it is not there as that it is not to be seen,
        and points of which it sees none are not looked at, since to make them ready tells how many they are."""
        if owner == party.number:
            return self._contents.namespace(owner).warm().lookup.get(key)
        rows = self._granted(party).get(owner)
        if rows is None:
            return None
        row = self._contents.namespace(owner).warm().lookup.get(key, ROWS_MAX)
        return row if row in rows else None

    def resolve(self, found: Nearest, with_payload: bool) -> Results:
        """What tenants call the points. LookupError for one that was deleted, and forgotten, meanwhile."""
        points = found.ids.tolist()
        places: dict[int, int] = {}  # of owners that occur
        owner = [places.setdefault(point >> 32, len(places)) for point in points]
        owners = list(map(self._contents.parties.name_of, places))
        payloads = self._payloads(points) if with_payload else None
        ids = [self._name(point) for point in points] if len(points) <= FEW else self._names(found.ids)
        return Results(owners, owner, ids, found.distances, payloads, found.counts)

    def _payloads(self, points: list[int]) -> list[bytes]:
        """Invalid when they have more than ANSWER_BYTES_MAX together, which is looked at before so many of the largest are there."""
        step, found, size = ANSWER_BYTES_MAX // PAYLOAD_BYTES_MAX, list[bytes](), 0
        for start in range(0, len(points), step):
            found += [self._state(point).payload(point & ROW) for point in points[start:start + step]]
            if len(points) > step:
                size += sum(map(len, found[start:]))
                _check_answer(size)
        return found

    def _names(self, ids: np.ndarray) -> np.ndarray | list[PointId]:
        """What owners call points of the index: u64[n], or a list when one of them is a UUID."""
        keys, missing = self._contents.keys(ids)
        if not missing.any():
            return keys
        named: list[PointId] = keys.tolist()
        for at in np.flatnonzero(missing).tolist():
            named[at] = self._name(int(ids[at]))
        return named if any(isinstance(each, str) for each in named) else np.array(named, np.uint64)

    def _name(self, point: int) -> PointId:
        return id_of(self._state(point).key(point & ROW))

    def _state(self, point: int) -> State:
        return self._contents.namespace(point >> 32).state

    def _sparse(self, point: int) -> dict[str, Sparse]:
        """By name, those that the point has."""
        ids = np.array([point], np.uint64)
        return {name: each for name, index in self._contents.sparse.items() if (each := index.store.vectors(ids)[0])}

    def records(self, ids: Sequence[int], with_payload: bool, with_vector: bool) -> list[Record]:
        """Points by index id, in that order, without those that were deleted meanwhile. Invalid when they have more than ANSWER_BYTES_MAX."""
        records, size = [], 0
        for point in ids:
            state, row = self._state(point), point & ROW
            try:
                vector = self._contents.index.vectors([point])[0] if with_vector else None
                owner, key = self._contents.parties.name_of(point >> 32), state.key(row)
                payload = state.payload(row) if with_payload else None
            except LookupError:
                continue
            sparse = self._sparse(point) if with_vector else None
            size += (0 if vector is None else vector.nbytes) + len(payload or b"")
            size += PAIR_BYTES * sum(len(each.indices) for each in sparse.values()) if sparse else 0
            _check_answer(size)
            records.append(Record(owner, id_of(key), payload, vector, sparse))
        return records


def _check_answer(size: int) -> None:
    if size > ANSWER_BYTES_MAX:
        raise Invalid(f"an answer has at most {ANSWER_BYTES_MAX} bytes of payloads and vectors: ask for fewer points, or without them")
