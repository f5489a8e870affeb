"""Every change of a file passes through here, so that a test can fill the disk, end the process, or cut the power at each.

Errors are the family's: DiskFull when there is no room, Damaged for any other failure of the device. Nothing here retries.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import Damaged, DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def translated(path: object) -> Iterator[None]:
    """OSError as one of the family."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"no room on the disk for {path}: {error.strerror}; nothing was changed, make room and try again") from error
        raise Damaged(f"cannot write {path}: {error.strerror or error}; check the device, then open the database again") from error


class Disk:
    """The real one. Tests derive from it and override what they need; `step` is called before each change with its name."""

    def step(self, name: str) -> None:
        """A fault point: nothing happens here."""

    def create(self, path: Path) -> int:
        """A new empty file, as a descriptor for reading and writing."""
        self.step(f"create {path.name}")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def allocate(self, fd: int, offset: int, length: int) -> None:
        """Makes room, which reads as zeros, so that a later write there cannot fail for want of it."""
        self.step("allocate")
        os.posix_fallocate(fd, offset, length)

    def write(self, fd: int, parts: Sequence[bytes | memoryview], offset: int) -> int:
        """Writes all the parts from the offset on; the offset behind them."""
        self.step("write")
        for start in range(0, len(parts), 1024):  # IOV_MAX
            batch = [part for part in map(memoryview, parts[start:start + 1024]) if part.nbytes]
            while batch:
                done = os.pwritev(fd, batch, offset)
                offset += done
                while batch and done >= batch[0].nbytes:
                    done -= batch.pop(0).nbytes
                if done:
                    batch[0] = batch[0].cast("B")[done:]
        return offset

    def sync(self, fd: int) -> None:
        self.step("sync")
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        self.step("truncate")
        os.ftruncate(fd, size)

    def make_folder(self, path: Path) -> None:
        self.step(f"make folder {path.name}")
        path.mkdir(mode=0o700)

    def link(self, old: Path, new: Path) -> None:
        """The same file under a second name."""
        self.step(f"link {new.name}")
        os.link(old, new)

    def rename(self, old: Path, new: Path) -> None:
        self.step(f"rename {new.name}")
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        self.step(f"remove {path.name}")
        path.unlink() if path.is_file() else path.rmdir()

    def sync_folder(self, path: Path) -> None:
        """Makes names created, renamed and removed in the folder durable."""
        self.step(f"sync folder {path.name}")
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
