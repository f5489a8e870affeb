"""Budgets that several daemons share: this daemon's part is leased from Redis ahead of need, and spent by the shards without asking.

Each budget is a token bucket in Redis, named by chain, policy and lease, so that daemons with the same chain share it:

    HASH mrpc:budget:CHAIN/POLICY/LEASE   tokens (left), at_us (Redis' clock, when they were counted)

One script fills and takes in one step, by Redis' own clock: daemons' clocks need not agree, and no two can take the same token. A
daemon asks, every PERIOD_S, for about what it used lately, so that idle daemons hold next to nothing and busy ones are not refused while
tokens are left elsewhere. What was leased and not used stays with the daemon and lowers its next request.

While Redis is away, each daemon grants itself `share` of the rate, says so (log, metric, `mrpc policy show`), and asks again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mrpc_service.dataplane_api import Dataplane, LeaseUse

log = logging.getLogger("mrpcd.policy")
PERIOD_S = 0.02
IDLE_PERIOD_S = 0.5  # while no policy leases anything, and nobody wakes it
HEADROOM = 1.5       # of recent use; what a daemon asks for beyond it would be missing elsewhere
RETRY_S = 1.0        # after a failure, before Redis is asked again
TIMEOUT_S = 0.25
KEY = "mrpc:budget:"

TAKE = """
local now_us = tonumber(ARGV[4])
if now_us == 0 then
  local time = redis.call('TIME')
  now_us = time[1] * 1000000 + time[2]
end
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at_us')
local tokens = burst
if held[1] then
  local at_us = tonumber(held[2])
  now_us = math.max(now_us, at_us)
  tokens = math.min(burst, tonumber(held[1]) + (now_us - at_us) * rate / 1000000)
end
local granted = math.min(want, tokens)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens - granted), 'at_us', string.format('%.0f', now_us))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * burst / rate) + 60000)
return string.format('%.17g', granted)
"""
"""KEYS[1]: the bucket. ARGV: rate a second, burst, tokens wanted, and microseconds for Redis' clock (0: its own). A bucket that is forgotten
is a full one, so it may expire once it would be full."""


class StoreAway(Exception):
    """The store of budgets cannot be reached or used now."""


class BudgetStore(Protocol):
    def take(self, wanted: list[tuple[str, float, float, float]]) -> list[float]:
        """Tokens granted, for each (budget, rate a second, burst, tokens wanted). Blocks; StoreAway."""


class RedisBudgets:
    def __init__(self, url: str, clock_us: Callable[[], int] = lambda: 0) -> None:
        """`clock_us` is for simulations; 0 is the server's own clock."""
        import redis

        self._error = redis.RedisError
        self._clock_us = clock_us
        self._redis = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True)

    def take(self, wanted: list[tuple[str, float, float, float]]) -> list[float]:
        now_us = self._clock_us()
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for budget, rate, burst, want in wanted:
                    pipe.eval(TAKE, 1, KEY + budget, rate, burst, want, now_us)
                return [max(0.0, float(granted)) for granted in pipe.execute()]
        except (self._error, ValueError) as error:
            raise StoreAway(str(error)) from None


@dataclass
class LeaseState:
    """What one budget did since the daemon started."""

    use: LeaseUse
    demand: float = 0.0  # smoothed, tokens a period
    taken: float = 0.0
    refused: float = 0.0


class LeaseKeeper:
    """Keeps the shards' accounts filled. `turn` is one look; `run` takes turns for ever, and at once after `wake`."""

    def __init__(self, dataplane: Dataplane, store: BudgetStore | None, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Without a store every daemon has its share alone."""
        self._dataplane, self._store, self._clock_s = dataplane, store, clock_s
        self.leases: dict[str, LeaseState] = {}
        self.error = "" if store else "no --policy-store is set"
        self._last_s: dict[str, float] = {}
        self._retry_at_s = 0.0
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be new budgets: fill them now. In the loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            period_s = PERIOD_S if await self._look() else IDLE_PERIOD_S
            timer = asyncio.get_running_loop().call_later(period_s, self._woken.set)
            await self._woken.wait()
            timer.cancel()

    async def _look(self) -> bool:
        """Whether there are budgets. What goes wrong costs one look, and never the next ones."""
        try:
            uses = self._dataplane.leases()
            if uses:
                await asyncio.to_thread(self.turn, uses)
        except Exception:
            log.exception("shared budgets could not be looked after")
            return False
        return bool(uses)

    def turn(self, uses: list[LeaseUse]) -> None:
        """Grant each account what it lacks, from the store, or from this daemon's share while that is away."""
        now_s = self._clock_s()
        names = [_name(use) for use in uses]
        self.leases = {name: self._note(name, use) for name, use in zip(names, uses, strict=True)}
        granted = self._from_store(now_s, names)
        for name, use in zip(names, uses, strict=True):
            since_s = now_s - self._last_s.get(name, now_s)
            tokens = granted[name] if granted is not None else min(use["burst"], since_s * use["rate_per_s"] * use["share"])
            self._dataplane.grant_lease(use["chain"], use["policy"], use["lease"], tokens, granted is not None)
        self._last_s = dict.fromkeys(names, now_s)

    def _note(self, name: str, use: LeaseUse) -> LeaseState:
        """Demand rises at once and falls slowly: a burst must not find an account that a quiet moment has emptied."""
        state = self.leases.get(name) or LeaseState(use)
        wanted = use["taken"] + use["refused"]
        state.demand = max(wanted, 0.75 * state.demand + 0.25 * wanted)
        state.use, state.taken, state.refused = use, state.taken + use["taken"], state.refused + use["refused"]
        return state

    def _from_store(self, now_s: float, names: list[str]) -> dict[str, float] | None:
        if self._store is None or now_s < self._retry_at_s:
            return None
        try:
            uses = [(name, self.leases[name].use) for name in names]
            granted = self._store.take([(name, use["rate_per_s"], use["burst"], self._wanted(name)) for name, use in uses])
        except Exception as error:  # not StoreAway alone: whatever its client raises, this daemon's share goes on
            self._complain(str(error) or type(error).__name__)
            self._retry_at_s = now_s + RETRY_S
            return None
        self._complain("")
        return dict(zip(names, granted, strict=True))

    def _wanted(self, name: str) -> float:
        """Enough for a period like the last ones, and for a first call at any time; never more than a burst."""
        state = self.leases[name]
        ready = max(HEADROOM * state.demand, 1.0)
        return max(0.0, min(state.use["burst"], ready) - state.use["left"])

    def _complain(self, error: str) -> None:
        """Log a trouble once, and its end once."""
        if bool(error) != bool(self.error):
            if error:
                log.warning("the policy store cannot be reached (%s): global budgets are spent by this daemon's share", error)
            else:
                log.info("the policy store is back: global budgets are shared again")
        self.error = error

    def report(self) -> list[dict[str, Any]]:
        """The fields of the API's PolicyLease."""
        return [
            {"chain": state.use["chain"], "policy": state.use["policy"], "lease": state.use["lease"],
             "rate_per_s": state.use["rate_per_s"], "left": state.use["left"], "taken": state.taken, "refused": state.refused,
             "shared": not self.error, "error": self.error}
            for state in self.leases.values()
        ]


def _name(use: LeaseUse) -> str:
    return f"{use['chain']}/{use['policy']}/{use['lease']}"
