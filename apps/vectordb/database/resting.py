"""Tenants at rest: their trees taken out of the index and kept in a file, until someone asks for them.

A snapshot has a file of the blobs of those that rest then, which is verified when it is opened; those put to rest since are in a
temporary file without a name. Waking takes a lock; who is awake never meets it.
"""
from __future__ import annotations

import os
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from .disk import Disk, translated
from .errors import Damaged
from .records import pb, rows_of, u64s_of
from .segments import mapped

T = TypeVar("T")
Place = memoryview | tuple[int, int]  # a part of the snapshot's file, or (offset, bytes) in the spool
RETRIES_MAX = 100  # of an answer while others put the tenant to rest again and again


class Resting:
    """Of one index. Put to rest under the writer's lock; woken by anyone."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._asleep = getattr(sys.modules[type(index).__module__], "TenantUnloaded", ())
        self._lock = threading.Lock()
        self._where: dict[int, Place] = {}
        self._spool: BinaryIO | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._where

    def rest(self, number: int, folder: Path) -> None:
        """Takes a tenant's tree out of memory. DiskFull: it stays awake."""
        with self._lock:
            if number in self._where:
                return
            blob = self._index.unload(number)
            try:
                with translated(folder):
                    self._spool = self._spool or tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (until close)
                    offset = self._spool.seek(0, os.SEEK_END)
                    self._spool.write(blob)
                    self._spool.flush()
            except BaseException:
                self._index.reload(number, blob)
                raise
            self._where[number] = offset, len(blob)

    def wake(self, numbers: Iterable[int]) -> None:
        """Brings the trees back of those that rest. Damaged."""
        if self._where:
            for number in numbers:
                self._wake(number)

    def _wake(self, number: int) -> None:
        with self._lock:
            if number not in self._where:
                return
            try:
                self._index.reload(number, self._blob(self._where[number]))
            except (ValueError, OSError) as error:
                raise Damaged(f"the tree of tenant {number} at rest cannot be read: {error}; open the database again") from error
            del self._where[number]

    def _blob(self, place: Place) -> bytes:
        if isinstance(place, memoryview):
            return bytes(place)
        offset, size = place
        return os.pread(self._spool.fileno(), size, offset)

    def awake(self, numbers: Iterable[int], ask: Callable[[], T]) -> T:
        """What `ask` answers with those tenants awake."""
        for _ in range(RETRIES_MAX):
            self.wake(numbers)
            try:
                return ask()
            except self._asleep:
                with self.held():  # it was put to rest just after it woke: when that is done, it can be woken
                    continue
        raise Damaged(f"tenants {list(numbers)} do not wake; open the database again")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody falls asleep or wakes inside."""
        with self._lock:
            yield

    def freeze(self) -> dict[int, Place]:
        """Who rests now, for save(). Inside held(), together with a cut of the index."""
        return self._where.copy()

    def save(self, disk: Disk, path: Path, entry: pb.Collection, resting: dict[int, Place]) -> None:
        """Writes the blobs of those that rested, and says in the entry which. OSError."""
        numbers = sorted(resting)
        blobs = [self._blob(resting[number]) for number in numbers]
        entry.resting, entry.resting_sizes = np.array(numbers, "<u4").tobytes(), np.array(list(map(len, blobs)), "<u8").tobytes()
        entry.resting_crc = zlib.crc32(b"".join(blobs))
        fd = disk.create(path)
        try:
            disk.write(fd, blobs, 0)
            disk.sync(fd)
        finally:
            os.close(fd)

    def adopt(self, path: Path, entry: pb.Collection) -> None:
        """The index is as in a snapshot: these rest. Damaged when its file is not what was written."""
        self._where = self._parts(path, entry)

    @staticmethod
    def _parts(path: Path, entry: pb.Collection) -> dict[int, Place]:
        sizes = u64s_of(entry.resting_sizes)
        blobs, ends = mapped(path, int(sizes.sum()), entry.resting_crc), np.cumsum(sizes).tolist()
        parts = [blobs[start:end] for start, end in pairwise([0, *ends])]
        return dict(zip(rows_of(entry.resting).tolist(), parts, strict=True))

    def settle(self, path: Path, entry: pb.Collection, resting: dict[int, Place]) -> None:
        """A snapshot has those that rested when it was cut, and still do. Damaged as adopt()."""
        parts = self._parts(path, entry)
        with self._lock:
            self._where.update((number, parts[number]) for number, place in resting.items() if self._where.get(number) is place)
            if not any(isinstance(place, tuple) for place in self._where.values()):
                self.close()

    def close(self) -> None:
        """Lets the temporary file go."""
        if self._spool is not None:
            with suppress(OSError):  # of what a full disk did not take, and nobody misses
                self._spool.close()
            self._spool = None
