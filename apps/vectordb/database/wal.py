"""The write-ahead log: segments of frames, one for each generation of snapshots, and group commit.

append() is called by one writer at a time. wait() is called by any number: the first to come syncs all that was appended until
then, and those who waited for it find themselves done. Room is made ahead in steps, so that a full disk is met before anything is
written, and a sync has no file size to write.
"""
from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from . import frames
from .disk import Disk, translated
from .errors import Damaged, DatabaseError

Policy = Literal["group", "always", "interval", "off"]
MAGIC = b"MRPCVWAL"
ALLOCATE_BYTES = 4 << 20


def segment_path(folder: Path, generation: int) -> Path:
    return folder / f"wal-{generation:010}.log"


def segments(folder: Path) -> list[int]:
    """Generations of the segments in the folder, ascending."""
    return sorted(int(path.stem[4:]) for path in folder.glob("wal-*.log") if path.stem[4:].isdigit())


class Wal:
    """The segment that is written to. `sequence` is the last appended. `policy`: group and always sync before wait() returns."""

    def __init__(self, disk: Disk, folder: Path, policy: Policy) -> None:
        self._disk, self._folder, self._policy = disk, folder, policy
        self._syncing = threading.Lock()
        self._fd = -1
        self._failed: str | None = None
        self.sequence = self._durable = 0
        self._path, self._end, self._room, self._salt = folder, 0, 0, 0

    @property
    def size(self) -> int:
        """Bytes in the segment."""
        return self._end

    @property
    def used(self) -> bool:
        """Whether the segment holds a record."""
        return self._end > frames.HEADER.size

    def begin(self, generation: int) -> None:
        """Goes on in a new segment; all before it is durable. On an error it goes on in the old one."""
        path = segment_path(self._folder, generation)
        aside = path.with_suffix(".new")
        with translated(path), self._syncing:
            if self._fd >= 0:
                self._sync()
            fd, salt = self._disk.create(aside), 1 + secrets.randbelow(2**32 - 1)
            try:
                end = self._disk.write(fd, [frames.header(MAGIC, generation, self.sequence + 1, salt)], 0)
                self._disk.sync(fd)
                self._disk.rename(aside, path)
                self._disk.sync_folder(self._folder)
            except BaseException:
                os.close(fd)
                aside.unlink(missing_ok=True)
                raise
            self._use(fd, path, end, salt)

    def resume(self, generation: int, end: int, sequence: int, salt: int) -> None:
        """Goes on in a segment that was read up to `end`; what lies behind is cut off."""
        path = segment_path(self._folder, generation)
        with translated(path):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._disk.truncate(fd, end)
            self._disk.sync(fd)
        self.sequence = self._durable = sequence
        self._use(fd, path, end, salt)

    def _use(self, fd: int, path: Path, end: int, salt: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._path, self._end, self._room, self._salt = fd, path, end, end, salt

    def append(self, bodies: Sequence[bytes]) -> int:
        """Writes them as one transaction; the sequence of its last. DiskFull or Damaged: nothing of it stays."""
        if self._failed:
            raise Damaged(self._failed)
        parts: list[bytes] = []
        for at, body in enumerate(bodies, 1):
            parts += frames.encode(body, self.sequence + at, self._durable, more=at < len(bodies), salt=self._salt)
        try:
            with translated(self._path):
                self._make_room(sum(map(len, parts)))
                end = self._disk.write(self._fd, parts, self._end)
        except DatabaseError:
            self._cut_back()
            raise
        self._end = end
        self.sequence += len(bodies)
        return self.sequence

    def _make_room(self, size: int) -> None:
        missing = self._end + size - self._room
        if missing <= 0:
            return
        ahead = -missing % ALLOCATE_BYTES + missing
        try:
            self._disk.allocate(self._fd, self._room, ahead)
        except OSError:
            self._disk.allocate(self._fd, self._room, ahead := missing)  # not so far ahead, when the disk is nearly full
        self._room += ahead

    def _cut_back(self) -> None:
        """A frame that was not acknowledged must not be found behind a later one."""
        try:
            self._disk.truncate(self._fd, self._end)
            self._room = self._end
        except OSError as error:
            self._failed = f"{self._path}: cannot cut off a failed write: {error.strerror}; open the database again"

    def wait(self, sequence: int) -> None:
        """Returns when all up to there is durable, at once with the policies interval and off. Damaged when the device fails."""
        if self._policy in ("group", "always"):
            self.sync(sequence)

    def sync(self, sequence: int | None = None) -> None:
        """Makes all that was appended durable, or all up to the sequence at least."""
        wanted = self.sequence if sequence is None else sequence
        if self._durable >= wanted:
            return
        with translated(self._path), self._syncing:
            if self._durable < wanted:
                self._sync()

    def _sync(self) -> None:
        """After a failed sync nobody knows what is on the disk, and a second one may succeed for nothing: the log has failed."""
        if self._failed:
            raise Damaged(self._failed)
        target = self.sequence
        try:
            self._disk.sync(self._fd)
        except OSError as error:
            self._failed = f"{self._path}: cannot be made durable: {error.strerror}; open the database again"
            raise Damaged(self._failed) from error
        self._durable = target

    def close(self) -> None:
        """Syncs, unless the log failed."""
        if self._fd >= 0:
            try:
                if not self._failed:
                    self.sync()
            finally:
                os.close(self._fd)
                self._fd = -1


def read_segment(path: Path, generation: int) -> tuple[frames.Reader, int]:
    """(reader over its transactions, first sequence). Damaged for a header that is not of this segment."""
    reader, found, first = frames.open_file(path, MAGIC)
    if found != generation:
        raise Damaged(f"{path}: its header says generation {found}")
    return reader, first
