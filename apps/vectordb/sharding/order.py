"""The order of a shard's writes: writes of one owner one after the other, those of several owners at once, administrators' alone.

What two owners write cannot be told apart by its order, so replicas that get it in different orders hold the same.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from ..scheduler import WaitedTooLong

OWNERS_MAX = 8
"""Owners that write at once: fewer than a shard's slots for writes, so that no replica refuses what another took."""


class Order:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owners: set[Hashable] = set()
        self._alone, self._waiting = False, 0

    @contextmanager
    def of(self, owner: Hashable, timeout_s: float | None = None) -> Iterator[None]:
        """The owner's turn. WaitedTooLong."""
        def free() -> bool:
            return not (self._alone or self._waiting or owner in self._owners) and len(self._owners) < OWNERS_MAX

        with self._changed:
            self._wait(free, timeout_s)
            self._owners.add(owner)
        try:
            yield
        finally:
            with self._changed:
                self._owners.remove(owner)
                self._changed.notify_all()

    @contextmanager
    def alone(self, timeout_s: float | None = None) -> Iterator[None]:
        """A turn with no other beside it. WaitedTooLong."""
        with self._changed:
            self._waiting += 1
            try:
                self._wait(lambda: not self._alone and not self._owners, timeout_s)
                self._alone = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _wait(self, free: Callable[[], bool], timeout_s: float | None) -> None:
        if not self._changed.wait_for(free, timeout_s):
            raise WaitedTooLong("the shard's writes")
