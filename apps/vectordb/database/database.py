"""A database: collections over one log, in a directory of its own or in memory.

    LOCK  wal-0000000007.log  snapshot-0000000007/  and those of the generation before

Opening takes the lock, loads the newest good snapshot, and does again what the log holds since.
"""
from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from . import snapshots
from .collection import Collection
from .contents import Contents
from .cut import Cut
from .disk import Disk
from .errors import AlreadyExists, DatabaseError, NotFound
from .housekeeping import Housekeeper
from .journal import Journal, Memory
from .lock import DirectoryLock
from .mending import Mender, Teacher
from .model import CollectionConfig, Options, Recovery
from .recall import Sampler
from .records import Change, pb
from .recovery import Recoverer
from .state import State
from .wal import segments

log = logging.getLogger(__name__)


def curator() -> Any:
    """The class of the index."""
    from apps.vectordb._curator import Index  # not above: tests bring another

    return Index


class Database:
    """Made by open(). `recovery` says what opening found. Any thread may call any method."""

    @staticmethod
    def open(directory: str | Path | None, *, index_type: Any = None, disk: Disk | None = None, clock: Callable[[], float] = time.monotonic,
             **settings: Any) -> Database:
        """Opens the database of a directory, made if need be, or one in memory (None). settings: fields of Options.

        index_type, disk, clock: for tests. Locked when it is open already; Damaged when it cannot be recovered without loss, with file,
        offset, and what to do; DiskFull; Invalid for the settings.
        """
        state = State(index_type or curator(), clock)
        return Database(Path(directory) if directory is not None else None, Options.checked(settings), disk or Disk(), state)

    def __init__(self, folder: Path | None, options: Options, disk: Disk, state: State) -> None:
        self._folder, self._options, self._disk, self._state = folder, options, disk, state
        self._lock = self._wal = None
        self._snapshotting = threading.Lock()
        self._kept: list[int] = []  # generations of good snapshots, newest first
        self.recovery = Recovery()
        if folder is not None:
            self._open(folder)
        self._journal = Journal(self._wal or Memory(), alone=options.fsync == "always")
        self._sampler = Sampler(options.recall_sample)
        self._mender = Mender(self._contents)
        chores = [self._teach, self._sync, self._snapshot_when_due, self._cool, self._sampler.judge]
        self._housekeeper = Housekeeper(chores, self._mender.piece, options.interval_s)
        self._teacher = Teacher(self._housekeeper.wake if options.background else None)
        self._collections = {contents.config.name: self._collection(contents) for contents in state.contents.values()}
        if options.background:
            self._housekeeper.start()

    def _open(self, folder: Path) -> None:
        self._lock = DirectoryLock(folder)
        try:
            self._wal, self.recovery, self._kept = Recoverer(self._disk, folder, self._state).run(self._options.fsync)
        except BaseException:
            self._lock.close()
            raise

    def _collection(self, contents: Contents) -> Collection:
        return Collection(contents, self._journal, self._sampler, self._teacher)

    def _contents(self) -> list[Contents]:
        return list(self._state.contents.values())

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def create_collection(self, name: str, *, dim: int, metric: str = "l2", dtype: str = "float32", **settings: Any) -> Collection:
        """A new collection, with no tenants. settings: further fields of CollectionConfig. AlreadyExists; Invalid."""
        config = CollectionConfig.checked({"name": name, "dim": dim, "metric": metric, "dtype": dtype, **settings})
        with self._journal.writing() as write:
            if name in self._collections:
                raise AlreadyExists(f"there is a collection {name!r} already")
            created = pb.CreateCollection(config=config.model_dump_json(), secret=secrets.token_bytes(16))
            change = Change(collection=self._state.next_number, create_collection=created)
            write.log([change])
            self._state.apply(change)
            self._collections[name] = self._collection(self._state.contents[change.collection])
        return self._collections[name]

    def collection(self, name: str) -> Collection:
        """NotFound."""
        try:
            return self._collections[name]
        except KeyError:
            raise NotFound(f"there is no collection {name!r}") from None

    def collections(self) -> list[str]:
        """Names of all collections."""
        return sorted(self._collections)

    def drop_collection(self, name: str) -> None:
        """Deletes a collection with all tenants and points in it. NotFound."""
        with self._journal.writing() as write:
            collection = self.collection(name)
            change = Change(collection=collection.number, drop_collection=pb.DropCollection())
            write.log([change])
            self._state.apply(change)
            del self._collections[name]
            collection.retire()

    def snapshot(self) -> None:
        """Writes all of it to files, so that opening need not do the log again. Writers wait for the moment in which it is cut, readers for
        nothing. DiskFull: nothing changed."""
        if self._wal is None or self._folder is None:
            return
        with self._snapshotting:
            self._wal.sync()  # so that little is left to do while writers wait
            with self._journal.writing():
                generation = max([*segments(self._folder), *snapshots.generations(self._folder)]) + 1
                self._wal.begin(generation)
                manifest = pb.Manifest(generation=generation, sequence=self._wal.sequence, next_collection=self._state.next_number)
                cuts = list(map(Cut, self._state.contents.values()))
            snapshots.write(self._disk, self._folder, manifest, cuts, self._journal.writing)
            self._kept = [generation, *self._kept[:1]]
            snapshots.remove_older(self._disk, self._folder, self._kept[-1])

    def housekeep(self) -> None:
        """One round of what the background thread does.

        It teaches the indexes, makes the log durable (fsync="interval"), writes a snapshot when the log is long, lets tenants rest, judges
        searches, and mends a piece of an index.
        """
        self._housekeeper.round()
        self._mender.mend()

    def _sync(self) -> None:
        if self._wal is not None and self._options.fsync == "interval":
            self._wal.sync()

    def _snapshot_when_due(self) -> None:
        if self._wal is not None and self._wal.size > self._options.wal_bytes_max:
            self.snapshot()

    def _cool(self) -> None:
        if self._folder is not None and self._options.warm_bytes_max is not None:
            with self._journal.writing():
                for contents in self._state.contents.values():
                    contents.cool(self._options.warm_bytes_max, self._folder)

    def _teach(self) -> None:
        for contents in self._contents():
            contents.teach()

    def close(self) -> None:
        """Writes a snapshot if anything was written, mended or learnt since the last, and lets the directory go. Calling it again does nothing."""
        self._housekeeper.close()
        if self._journal.closed and self._lock is None:
            return
        try:
            if self._wal is not None and not self._journal.closed and (self._wal.used or any(each.unsaved for each in self._contents())):
                self.snapshot()
        except DatabaseError as error:
            log.warning("closed without a snapshot, the log holds everything: %s", error)
        finally:
            self._journal.end()
            with self._snapshotting:
                self._let_go()

    def _let_go(self) -> None:
        for contents in self._state.contents.values():
            contents.resting.close()
        if self._wal is not None:
            self._wal.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
