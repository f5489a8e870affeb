"""Limits of calls, which the router keeps: a shard sees a part of a tenant's calls only, and replicas must refuse no write that another took."""
from __future__ import annotations

import threading
import time
from typing import Any

from ..database import Quota
from ..database.errors import QuotaExceeded
from ..database.quota import Bucket

RATES = ("queries_per_s", "burst")


def without_rates(quota: Quota) -> dict[str, Any]:
    """What shards see to."""
    return {name: value for name, value in quota.model_dump(exclude_none=True).items() if name not in RATES}


class Rates:
    """Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._buckets: dict[tuple[str, str], tuple[Quota, Any]] = {}

    def admit(self, collection: str, tenant: str, quota: Quota, calls: int) -> None:
        """QuotaExceeded when the tenant calls too often."""
        if quota.queries_per_s is None:
            return
        wait_s = self._bucket((collection, tenant), quota).take(calls)
        if wait_s:
            raise QuotaExceeded(f"tenant {tenant!r} calls too often; try again in {wait_s:.3f} s", wait_s)

    def _bucket(self, name: tuple[str, str], quota: Quota) -> Any:
        """A new one when the quota is another."""
        with self._guard:
            known = self._buckets.get(name)
            if known is None or known[0] is not quota:
                known = self._buckets[name] = quota, Bucket.of(quota, time.monotonic)
            return known[1]
