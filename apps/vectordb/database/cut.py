"""A collection as of one moment, to be written while it changes.

Made under the writer's lock, in time for what is in memory since the last snapshot and for tenants' names; the rest (vectors, what the
snapshot before holds) is known not to change in its place. When it is written, settle() lets the collection use the files instead,
a piece at a time: what was written meanwhile stays in memory.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from .contents import Contents
from .disk import Disk
from .namespace import Frozen
from .records import pb
from .segments import PointsFile
from .sparse import files

Writing = Callable[[], AbstractContextManager[object]]
SETTLED_AT_ONCE = 500  # owners: some milliseconds


class Cut:
    def __init__(self, contents: Contents) -> None:
        """A writer's."""
        self.number, self.stamp, self.saved = contents.number, contents.stamp, contents.saved
        self._contents = contents
        if self.unchanged:
            return
        self._parties, self._next_party = contents.parties.freeze(), contents.parties.next_number
        self._points = contents.points
        self._known = list(contents.namespaces.values())
        self._frozen = {namespace.owner: namespace.freeze() for namespace in self._known if namespace.changed}
        self._sparse = [index.store.freeze() for index in contents.sparse.values()]
        with contents.resting.held():
            self._resting, self._index = contents.resting.freeze(), contents.index.cut()

    @property
    def unchanged(self) -> bool:
        """Whether the last snapshot holds it."""
        return self.saved is not None and self.saved.stamp == self.stamp

    def describe(self) -> pb.Collection:
        """Its entry in a manifest, but for the points."""
        entry = pb.Collection(number=self.number, created=self._contents.created, next_party=self._next_party)
        for party in self._parties:
            entry.parties.append(party.message())
            entry.memberships.extend(pb.Membership(role=role, tenant=party.number, joined=True) for role in party.scope[1:])
        return entry

    def namespaces(self) -> Iterator[Frozen]:
        """Of those that own something, or have, and were still there, by number."""
        before = self._points.positions.keys() if self._points else set[int]()
        for owner in sorted({party.number for party in self._parties} & (before | self._frozen.keys())):
            yield self._frozen.get(owner) or Frozen.of(owner, *self._points.describe(owner))

    def save_index(self, path: Path) -> None:
        """Once: then the index may forget that moment. OSError."""
        index, self._index = self._index, None
        index.save(str(path))

    def save_resting(self, disk: Disk, path: Path, entry: pb.Collection) -> None:
        self._contents.resting.save(disk, path, entry, self._resting)

    def save_sparse(self, disk: Disk, path: Path, entry: pb.Collection) -> None:
        """Nothing for a collection without names for them. OSError."""
        if self._sparse:
            files.write(disk, path, self._sparse, entry)

    def settle(self, folder: Path, entry: pb.Collection, points: PointsFile, resting: Path, writing: Writing) -> None:
        """A snapshot holds all of it. writing: the writer's lock."""
        with writing():
            self._contents.settle(self.stamp, folder, entry, points)
        known = list(self._known)
        for start in range(0, len(known), SETTLED_AT_ONCE):
            with writing():
                for namespace in known[start:start + SETTLED_AT_ONCE]:
                    self._contents.settle_namespace(namespace, self._frozen.get(namespace.owner))
        self._contents.resting.settle(resting, entry, self._resting)

    def move(self, folder: Path) -> None:
        """The snapshot that holds it has a newer one beside it, which has the same."""
        self._contents.saved = self.saved._replace(folder=folder)
