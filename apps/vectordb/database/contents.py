"""What a collection holds, as a state machine: it changes by apply() only, so that replaying the log makes it again.

The order inside a change keeps readers right without locks: a new point is written here before the index shows it, and
leaves the index before it leaves here. `version` counts changes; what was worked out from an older one is thrown away.
"""
from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .columns import ColumnKey, column_of
from .ids import Cursors
from .model import CollectionConfig, SparseColumns
from .namespace import Frozen, Namespace
from .parties import Parties
from .quota import Tallies
from .records import Change, keys_of, payloads_of, pb, rows_of, u64s_of
from .resting import Resting
from .segments import PointsFile
from .sparse.columns import of_message, size_of
from .sparse.index import SparseIndex


def index_ids(owner: int, rows: np.ndarray) -> np.ndarray:
    """The ids in the index, u64[n], of an owner's rows."""
    return np.uint64(owner << 32) | rows.astype(np.uint64)


class Saved(NamedTuple):
    """A snapshot that holds the contents as of a stamp."""

    stamp: tuple[int, int]
    folder: Path
    entry: pb.Collection


class Contents:
    """index_type: the class of the index. clock: monotonic seconds. index: one that was loaded, else a new one is made."""

    def __init__(self, number: int, created: pb.CreateCollection, index_type: Any, clock: Callable[[], float], index: Any = None) -> None:
        self.number, self.created = number, created
        self.config = CollectionConfig.model_validate_json(created.config)
        self.cursors = Cursors(created.secret)
        self.parties = Parties(clock)
        self.tallies = Tallies()
        self.index = index if index is not None else self._new_index(index_type)
        self.points: PointsFile | None = None
        self.namespaces: dict[int, Namespace] = {}
        self.version = self._tended = 0
        self._mending = False
        self.granted: Counter[int] = Counter()  # changes of what others granted to each tenant or role
        self.saved: Saved | None = None
        self.resting = Resting(self.index)
        self.sparse = {name: SparseIndex(params) for name, params in self.config.sparse.items()}
        self.used: dict[int, int] = {}  # when each tenant was last heard of, in calls
        self._calls = itertools.count(1)

    def _new_index(self, index_type: Any) -> Any:
        config = self.config
        return index_type(config.dim, metric=config.metric, dtype=config.dtype, recall=config.recall, seed=config.seed)

    def namespace(self, owner: int) -> Namespace:
        """The points that the party owns; made when it is first asked for."""
        namespace = self.namespaces.get(owner)
        if namespace is None:
            fresh = Namespace(owner, *self.points.describe(owner)) if self.points else Namespace(owner)
            fresh.declared = self._declared(owner)
            namespace = self.namespaces.setdefault(owner, fresh)  # one of several threads wins
        return namespace

    def keys(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(u64[n], bool[n]) of index ids: their keys, and which are to be asked of their name spaces."""
        points = self.points
        return points.keys(ids) if points else (ids, np.ones(len(ids), bool))

    def touch(self, number: int) -> None:
        """The tenant was heard of."""
        self.used[number] = next(self._calls)

    def cool(self, bytes_max: int, folder: Path) -> int:
        """Drops from memory what can be made again, of the tenants that were not heard of for longest, until no more than that
        is left; how many tenants. A writer's, as apply(). DiskFull."""
        cooled, left = 0, self.warm_bytes()
        trees = self.index.stats()["bytes_tenants"] / max(1, self.index.stats()["grants"])
        for party in sorted(self.parties, key=lambda party: self.used.get(party.number, 0)):
            if left <= bytes_max:
                break
            if party.number not in self.resting and (count := self.index.count(party.number)):
                self.resting.rest(party.number, folder)
                left -= trees * count
                cooled += 1
            left -= sum(index.views.cool(party.number) for index in self.sparse.values())
            if namespace := self.namespaces.get(party.number):
                left -= namespace.warm_bytes
                namespace.cool()
        return cooled

    def warm_bytes(self) -> int:
        """What is in memory and could be made again: trees in the index, rows by key, columns of payloads, views of sparse vectors."""
        views = sum(index.views.size_bytes for index in self.sparse.values())
        return self.index.stats()["bytes_tenants"] + views + sum(namespace.warm_bytes for namespace in list(self.namespaces.values()))

    def sparse_bytes(self, owner: int, rows: Sequence[int] | None = None) -> int:
        """Of all sparse vectors of what the party owns, or of those of some rows."""
        if rows is None:
            return sum(index.store.owned_bytes(owner) for index in self.sparse.values())
        return sum(map(size_of, self.sparse_at(index_ids(owner, np.asarray(rows, np.uint32))).values()))

    def sparse_at(self, ids: np.ndarray) -> dict[str, SparseColumns]:
        """Of index ids u64[n], in any order: sparse vectors by name."""
        return {name: index.store.at(ids) for name, index in self.sparse.items()}

    def apply(self, change: Change) -> int:
        """Does it; how many points or pairs it concerned."""
        kind = change.WhichOneof("change")
        done = getattr(self, f"_{kind}")(getattr(change, kind))
        self.version += 1
        return done or 0

    def _party(self, change: pb.Party) -> None:
        self.parties.put(change)
        if namespace := self.namespaces.get(change.number):
            namespace.declared = self._declared(change.number)

    def _declared(self, number: int) -> frozenset[ColumnKey]:
        return frozenset(column_of(key, schema) for key, schema in self.parties.indexes_of(number).items())

    def _membership(self, change: pb.Membership) -> None:
        self.parties.join(change.role, change.tenant, change.joined)

    def _drop_party(self, change: pb.DropParty) -> int:
        owned = self.namespace(change.number).size
        self.resting.wake([change.number])
        self.index.drop_tenant(change.number)
        for index in self.sparse.values():
            index.drop(change.number)
        self.parties.drop(change.number)
        self.namespaces[change.number] = Namespace(change.number)
        self.tallies.drop(change.number)
        self.used.pop(change.number, None)
        return owned

    def _upsert(self, change: pb.Upsert) -> int:
        namespace = self.namespace(change.owner)
        rows, keys, fresh = rows_of(change.rows), keys_of(change.keys_low, change.keys_high), change.fresh
        vectors = np.frombuffer(change.vectors, self.config.dtype).reshape(len(rows), self.config.dim)
        texts, ids = payloads_of(change.payload_sizes, change.payloads), index_ids(change.owner, rows)
        self._write_sparse(change, rows)
        if fresh:
            self.resting.wake([change.owner])
            namespace.add(keys[:fresh], texts[:fresh])
            self.index.insert(ids[:fresh], vectors[:fresh], np.full(fresh, change.owner, np.uint32), learn=False)  # housekeeping does
        if fresh < len(rows):
            namespace.replace(rows[fresh:].tolist(), texts[fresh:])
            self.index.update(ids[fresh:], vectors[fresh:])
        return len(rows)

    def _write_sparse(self, change: pb.Upsert, rows: np.ndarray) -> None:
        given = {each.name: of_message(each) for each in change.sparse}
        for name, index in self.sparse.items():
            index.write(change.owner, rows, given.get(name))

    def _set_payload(self, change: pb.SetPayload) -> int:
        rows = rows_of(change.rows).tolist()
        self.namespace(change.owner).replace(rows, payloads_of(change.payload_sizes, change.payloads))
        return len(rows)

    def _delete(self, change: pb.Delete) -> int:
        rows = rows_of(change.rows)
        self.index.delete(index_ids(change.owner, rows))
        for index in self.sparse.values():
            index.write(change.owner, rows, None)
        self.namespace(change.owner).remove(rows.tolist())
        return len(rows)

    def _grant(self, change: pb.Grant) -> int:
        ids, parties = u64s_of(change.ids), np.array(change.parties, np.uint32)
        self.resting.wake(change.parties)
        pairs = np.repeat(ids, len(parties)), np.tile(parties, len(ids))
        done = self.index.revoke(*pairs) if change.revoked else self.index.grant(*pairs)
        self.granted.update(change.parties)
        return done

    @property
    def stamp(self) -> tuple[int, int]:
        """Another when a snapshot would be."""
        return self.version, self._tended

    def teach(self, vectors: int | None = None) -> None:
        """As the index's learn()."""
        if not self.index.taught and not self.index.learn(vectors):
            self._tended += 1

    def mend(self, vectors: int) -> bool:
        """Mends a piece of the index; whether there is more."""
        before, self._mending = self._mending, self.index.maintain(vectors)
        self._tended += before or self._mending
        return self._mending

    @property
    def unsaved(self) -> bool:
        """Whether the index was mended or taught since it was saved, and nothing was written."""
        return self.saved is not None and self.saved.stamp != self.stamp

    def settle(self, stamp: tuple[int, int], folder: Path, entry: pb.Collection, points: PointsFile) -> None:
        """A snapshot holds all of it as of that stamp: points not in memory are read from there from now on. A writer's, as apply()."""
        self.saved = Saved(stamp, folder, entry)
        self.points = points

    def settle_namespace(self, namespace: Namespace, frozen: Frozen | None) -> None:
        """The same for points in memory. frozen: what the snapshot has of them; None: what the one before had. A writer's."""
        owner = namespace.owner
        if self.namespaces[owner] is not namespace:
            return  # dropped meanwhile
        if owner in self.points.positions:
            namespace.settle(self.points.describe(owner)[0], frozen)
        elif not self.parties.find_name(owner):
            del self.namespaces[owner]  # dropped before

    def restore_parties(self, entry: pb.Collection) -> None:
        for party in entry.parties:
            self.parties.put(party)
        for membership in entry.memberships:
            self.parties.join(membership.role, membership.tenant, joined=True)
        self.parties.next_number = entry.next_party
