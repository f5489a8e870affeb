"""A cache that can only help: Redis where there is one, and nothing otherwise. Knows nothing of RPC.

What it keeps never changes once seeded (profiles and rate plans), so that a hit cannot be stale. Availability is not
cached: a stale count would offer rooms that are sold, and SQLite's answer from its own page cache is quicker than a
round trip to Redis. When Redis fails, requests go to storage, and Redis is left alone for a while.
"""
from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

Row = list[object]
Load = Callable[[Sequence[str]], dict[str, Row]]

TIMEOUT_S = 0.05
PAUSE_AFTER_FAILURE_S = 1.0
TTL_S = 3600

log = logging.getLogger(__name__)


class Cache(Protocol):
    def rows(self, kind: str, ids: Sequence[str], load: Load) -> dict[str, Row]:
        """Rows by id. Those not cached are read by one call of load; ids that it does not know are left out."""


class NoCache:
    def rows(self, kind: str, ids: Sequence[str], load: Load) -> dict[str, Row]:
        return load(ids)


class RedisCache:
    """Keys are hotel:KIND:ID, values JSON. A pipeline or a broken reply never fails a request."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        import redis  # an optional dependency
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._errors = (redis.RedisError, OSError, ValueError)
        self._redis = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S,
                                           retry=Retry(NoBackoff(), 0))
        self._clock = clock
        self._ask_again_at = 0.0

    def rows(self, kind: str, ids: Sequence[str], load: Load) -> dict[str, Row]:
        keys = [f"hotel:{kind}:{hotel_id}" for hotel_id in ids]
        cached = self._get(ids, keys)
        missing = [hotel_id for hotel_id in ids if hotel_id not in cached]
        if missing:
            loaded = load(missing)
            self._put(kind, loaded)
            cached.update(loaded)
        return cached

    def _get(self, ids: Sequence[str], keys: Sequence[str]) -> dict[str, Row]:
        if not keys:
            return {}
        values = self._try(lambda: [value and json.loads(value) for value in self._redis.mget(keys)], default=[])
        return {hotel_id: value for hotel_id, value in zip(ids, values, strict=False) if isinstance(value, list)}

    def _put(self, kind: str, rows: dict[str, Row]) -> None:
        def write() -> None:
            with self._redis.pipeline(transaction=False) as pipeline:
                for hotel_id, row in rows.items():
                    pipeline.set(f"hotel:{kind}:{hotel_id}", json.dumps(row), ex=TTL_S)
                pipeline.execute()
        if rows:
            self._try(write, default=None)

    def _try(self, action: Callable[[], object], default):
        if self._clock() < self._ask_again_at:
            return default
        try:
            return action()
        except self._errors as error:
            self._ask_again_at = self._clock() + PAUSE_AFTER_FAILURE_S
            log.warning("Redis failed, going on without it for %.0f s: %s", PAUSE_AFTER_FAILURE_S, error)
            return default


def open_cache(url: str | None) -> Cache:
    """Redis at url (redis://host:port/db), or no cache. Does not connect yet: a Redis that is down is no error."""
    return RedisCache(url) if url else NoCache()
