"""Limits of a tenant, and what it has used. Only monotonic time: a clock that is set changes nothing."""
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .errors import QuotaExceeded
from .model import Quota


class Bucket:
    """`rate` tokens a second, at most `size` of them saved up. A batch of more than `size` is let through on a full bucket, and paid off after."""

    def __init__(self, rate: float, size: float, clock: Callable[[], float]) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._tokens, self._at = size, clock()
        self._lock = threading.Lock()

    @staticmethod
    def of(quota: Quota, clock: Callable[[], float]) -> Bucket | None:
        rate = quota.queries_per_s
        return None if rate is None else Bucket(rate, quota.burst or max(rate, 1.0), clock)

    def take(self, count: int) -> float:
        """Takes them and returns 0, or takes nothing and returns the seconds until it could."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._size, self._tokens + max(0.0, now - self._at) * self._rate)
            self._at = now
            missing = min(count, self._size) - self._tokens
            if missing > 0:
                return missing / self._rate
            self._tokens -= count
            return 0.0


@dataclass(slots=True)
class Tally:
    """Counters of one tenant. Not logged: they begin anew when the database is opened."""

    queries: int = 0
    points_read: int = 0
    points_written: int = 0
    points_deleted: int = 0
    grants: int = 0
    refused: int = 0
    search_s: float = 0.0


class Tallies:
    """Counters of all tenants. The lock is held for an addition and never across work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[int, Tally] = {}
        self.calls = 0  # that were counted

    def add(self, number: int, **amounts: float) -> None:
        with self._lock:
            self.calls += 1
            tally = self._tallies.setdefault(number, Tally())
            for name, amount in amounts.items():
                setattr(tally, name, getattr(tally, name) + amount)

    def searched(self, number: int, queries: int, points_read: int, search_s: float) -> None:
        """As add(), for the call that there are most of."""
        with self._lock:
            self.calls += 1
            tally = self._tallies.get(number) or self._tallies.setdefault(number, Tally())
            tally.queries += queries
            tally.points_read += points_read
            tally.search_s += search_s

    def of(self, number: int) -> Tally:
        return self._tallies.get(number, Tally())

    def drop(self, number: int) -> None:
        self._tallies.pop(number, None)


def check_room(name: str, quota: Quota, vectors: int, size_bytes: int) -> None:
    """QuotaExceeded when a tenant that would come to own so much may not."""
    for limit, wanted, what in ((quota.vectors, vectors, "points"), (quota.bytes, size_bytes, "bytes")):
        if limit is not None and wanted > limit:
            raise QuotaExceeded(f"tenant {name!r} may own {limit} {what}, with this batch it would own {wanted}; nothing of it was written")
