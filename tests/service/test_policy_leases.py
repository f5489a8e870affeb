"""Budgets that daemons share: leased from a real Redis, by simulated clocks, and what becomes of them when it is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import random
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from mrpc_service.dataplane_api import LeaseUse
from mrpc_service.policy import leases
from mrpc_service.policy.leases import PERIOD_S, LeaseKeeper, RedisBudgets, StoreAway

RATE, BURST, SHARE = 1000.0, 100.0, 0.25
WAIT_S = 20.0
START_US = 1_700_000_000_000_000


class Clock:
    """One for daemons and store."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def us(self) -> int:
        return START_US + round(self.now_s * 1e6)

    def s(self) -> float:
        return self.now_s


class Account:
    """A data plane with one lease, as `lease.h` keeps it."""

    def __init__(self, rate: float = RATE) -> None:
        self.rate, self.left, self.taken, self.refused, self.total, self.shared = rate, 0.0, 0.0, 0.0, 0, False

    def call(self, count: int) -> int:
        """How many of `count` calls pass."""
        passed = min(count, int(self.left))
        self.left -= passed
        self.taken += passed
        self.refused += count - passed
        self.total += passed
        return passed

    def leases(self) -> list[LeaseUse]:
        use = LeaseUse(chain="c", policy="p", lease="budget", rate_per_s=self.rate, burst=BURST, share=SHARE, taken=self.taken,
                       refused=self.refused, left=self.left)
        self.taken = self.refused = 0.0
        return [use]

    def grant_lease(self, chain: str, policy: str, lease: str, tokens: float, shared: bool) -> None:
        self.left, self.shared = min(BURST, self.left + tokens), shared


class Fleet:
    """Daemons that share one budget, in steps of one period, in an order that differs from step to step."""

    def __init__(self, url: str, count: int = 3) -> None:
        self.clock, self.random = Clock(), random.Random(7)
        self.accounts = [Account() for _ in range(count)]
        stores = [RedisBudgets(url, self.clock.us) for _ in range(count)]
        self.keepers = [
            LeaseKeeper(account, store, self.clock.s)  # type: ignore[arg-type]
            for account, store in zip(self.accounts, stores, strict=True)
        ]

    def run(self, seconds: float, demand: Callable[[int, float], float]) -> int:
        """Calls that passed. `demand`: of each daemon, calls a second at a time."""
        before = sum(account.total for account in self.accounts)
        for _ in range(round(seconds / PERIOD_S)):
            self.clock.now_s += PERIOD_S
            order = list(range(len(self.accounts)))
            self.random.shuffle(order)
            for index in order:
                self.accounts[index].call(int(demand(index, self.clock.now_s) * PERIOD_S + self.random.random()))
                self.keepers[index].turn(self.accounts[index].leases())
        return sum(account.total for account in self.accounts) - before


@pytest.fixture
def budget_url(redis_url: str) -> str:
    redis.Redis.from_url(redis_url).flushall()
    return redis_url


@pytest.mark.parametrize(
    "demand",
    [
        lambda daemon, now_s: 1000.0,
        lambda daemon, now_s: (3000.0, 300.0, 0.0)[daemon],
        lambda daemon, now_s: 2000.0 if int(now_s) % 3 == daemon else 200.0,
    ],
    ids=["even", "one busy, one idle", "the load moves about"],
)
def test_three_daemons_together_hold_the_budget_within_2_percent(budget_url: str, demand: Callable[[int, float], float]) -> None:
    fleet = Fleet(budget_url)
    fleet.run(1.0, demand)  # the burst is spent
    passed = fleet.run(20.0, demand)
    assert passed == pytest.approx(RATE * 20.0, rel=0.02)


def test_a_load_below_the_budget_passes_whole(budget_url: str) -> None:
    fleet = Fleet(budget_url)
    fleet.run(1.0, lambda daemon, now_s: 200.0)
    refused_before = [keeper.leases["c/p/budget"].refused for keeper in fleet.keepers]
    fleet.run(10.0, lambda daemon, now_s: 200.0)
    refused = sum(keeper.leases["c/p/budget"].refused for keeper in fleet.keepers) - sum(refused_before)
    assert refused <= 0.01 * 6000


def test_an_idle_daemon_hoards_nothing(budget_url: str) -> None:
    fleet = Fleet(budget_url)
    fleet.run(5.0, lambda daemon, now_s: 0.0)
    assert sum(account.left for account in fleet.accounts) <= 3.0


class Away:
    """A store that can be switched off."""

    def __init__(self, store: RedisBudgets) -> None:
        self.store, self.away = store, True

    def take(self, wanted: Any) -> list[float]:
        if self.away:
            raise StoreAway("connection refused")
        return self.store.take(wanted)


def test_without_the_store_a_daemon_has_its_share_and_says_so_once(budget_url: str, caplog: pytest.LogCaptureFixture) -> None:
    clock, account = Clock(), Account()
    store = Away(RedisBudgets(budget_url, clock.us))
    keeper = LeaseKeeper(account, store, clock.s)  # type: ignore[arg-type]

    def run(seconds: float) -> int:
        before = account.total
        for _ in range(round(seconds / PERIOD_S)):
            clock.now_s += PERIOD_S
            account.call(100)
            keeper.turn(account.leases())
        return account.total - before

    with caplog.at_level(logging.INFO, "mrpcd.policy"):
        run(0.5)
        assert run(10.0) == pytest.approx(RATE * SHARE * 10.0, rel=0.02)
        assert not account.shared and keeper.report()[0]["error"] == "connection refused"
        store.away = False
        run(3.0)
        assert account.shared and keeper.error == ""
        assert run(10.0) == pytest.approx(RATE * 10.0, rel=0.02)
    told = [record.message for record in caplog.records]
    assert len(told) == 2 and "cannot be reached (connection refused)" in told[0] and "is back" in told[1]


def test_a_redis_that_dies_is_away_and_one_that_comes_back_is_used(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    store = RedisBudgets(f"unix://{path}")
    for _ in range(2):
        with pytest.raises(StoreAway):
            store.take([("b", RATE, BURST, 10.0)])
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
            assert server.stdout is not None
            next(line for line in server.stdout if "eady to accept" in line)
            assert store.take([("b", RATE, BURST, 10.0)]) == [10.0]
            server.kill()


class Granted(Account):
    """Tells of each grant; has budgets when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.grants: queue.Queue[bool] = queue.Queue()
        self.in_force, self.fault = True, ""

    def leases(self) -> list[LeaseUse]:
        if self.fault:
            raise RuntimeError(self.fault)
        return super().leases() if self.in_force else []

    def grant_lease(self, chain: str, policy: str, lease: str, tokens: float, shared: bool) -> None:
        super().grant_lease(chain, policy, lease, tokens, shared)
        self.grants.put(shared)

    async def granted(self, *, shared: bool) -> None:
        """Waits for a grant of that kind."""
        while await asyncio.to_thread(self.grants.get, timeout=WAIT_S) != shared:
            pass


@contextlib.asynccontextmanager
async def kept(account: Granted, store: Any) -> AsyncIterator[LeaseKeeper]:
    """A keeper that runs."""
    keeper = LeaseKeeper(account, store)  # type: ignore[arg-type]
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
        assert not task.done()
    finally:
        task.cancel()


async def test_a_redis_that_is_killed_and_comes_back_never_ends_the_keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RETRY_S", PERIOD_S)
    path, account = tmp_path / "redis.sock", Granted()
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    async with kept(account, RedisBudgets(f"unix://{path}")):
        for _ in range(2):
            await account.granted(shared=False)
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
                await account.granted(shared=True)
                server.kill()


async def test_a_new_budget_is_filled_when_the_keeper_is_woken(budget_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "IDLE_PERIOD_S", 3600.0)
    account = Granted()
    account.in_force = False
    async with kept(account, RedisBudgets(budget_url)) as keeper:
        await asyncio.sleep(0)  # it has looked, and found nothing
        account.in_force = True
        keeper.wake()
        await account.granted(shared=True)


async def test_what_nobody_thought_of_costs_one_look_or_the_share_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def take(self, wanted: Any) -> list[float]:
            raise TypeError("no numbers")

    account = Granted()
    account.fault = "no data plane"
    async with kept(account, Broken()) as keeper:
        await asyncio.sleep(0)
        account.fault = ""
        keeper.wake()
        await account.granted(shared=False)
    assert keeper.error == "no numbers" and "shared budgets could not be looked after" in caplog.text


def test_no_two_takers_get_the_same_token_and_a_bucket_is_never_overdrawn(budget_url: str) -> None:
    clock = Clock()
    stores = [RedisBudgets(budget_url, clock.us) for _ in range(3)]
    granted = [store.take([("b", RATE, BURST, 60.0)])[0] for store in stores]
    assert granted == [60.0, 40.0, 0.0]
    clock.now_s = 0.01
    assert stores[0].take([("b", RATE, BURST, 60.0)]) == [pytest.approx(10.0)]
    for clock.now_s in (0.005, 0.01):  # a clock that goes back earns nothing, then or later
        assert stores[0].take([("b", RATE, BURST, 60.0)]) == [0.0]


def test_a_bucket_goes_by_the_servers_own_clock(budget_url: str) -> None:
    store = RedisBudgets(budget_url)
    assert store.take([("own", RATE, BURST, BURST)]) == [BURST]
    (later,) = store.take([("own", RATE, BURST, BURST)])
    assert 0.0 <= later < BURST
    assert redis.Redis.from_url(budget_url).pttl("mrpc:budget:own") > 0
