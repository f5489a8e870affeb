"""The one writer at a time, and what it waits for.

    with journal.writing() as write:   # the lock
        ...                            # look, check, decide; raising here changes nothing
        write.log([change])            # in the log, or DiskFull and nothing changed
        ...                            # do it in memory: must not fail
    # the lock is free, the call waits until the log is durable: writers that come meanwhile share one fsync

A reader may see a change up to one fsync before its writer is told; what a writer was told is durable. When a change that is in
the log cannot be done in memory, or the device fails, memory can no longer be trusted to equal the log: writes end with
Closed, and opening the database again makes it right.
"""
from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from .errors import Closed, DatabaseError
from .records import Change


class Log(Protocol):
    """Where changes go."""

    def append(self, bodies: Sequence[bytes]) -> int:
        """Writes them as one transaction; its sequence number. DiskFull: nothing of it stays."""

    def wait(self, sequence: int) -> None:
        """Returns when all up to there is as durable as the setting asks."""


class Memory:
    """The log of a database that keeps nothing."""

    def append(self, bodies: Sequence[bytes]) -> int:
        return 0

    def wait(self, sequence: int) -> None:
        pass


class Write:
    """One write. `sequence` is None until something was logged."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.sequence: int | None = None

    def log(self, changes: Sequence[Change]) -> None:
        self.sequence = self._log.append([change.SerializeToString() for change in changes])


class Journal:
    """alone: a writer waits for its fsync before the next one begins."""

    def __init__(self, log: Log, *, alone: bool = False) -> None:
        self.log = log
        self._alone = alone
        self._lock = threading.Lock()
        self._closed: str | None = None

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """Closed when the database is."""
        with self._lock:
            if self._closed:
                raise Closed(self._closed)
            write = Write(self.log)
            try:
                yield write
            except BaseException as error:
                if write.sequence is not None:
                    self._fail(error)
                raise
            if self._alone and write.sequence is not None:
                self._wait(write.sequence)
        if write.sequence is not None:
            self._wait(write.sequence)

    def _wait(self, sequence: int) -> None:
        try:
            self.log.wait(sequence)
        except DatabaseError as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        self.close(f"an earlier write failed half way ({error}); open the database again, which recovers what was acknowledged")

    def close(self, why: str = "the database is closed") -> None:
        """No write begins from here on. The first reason stays."""
        self._closed = self._closed or why

    def end(self) -> None:
        """Closes it when the write under way, if there is one, is done with the log."""
        with self._lock:
            self.close()

    @property
    def closed(self) -> bool:
        return self._closed is not None
