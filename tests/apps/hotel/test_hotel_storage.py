from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from apps.hotel import catalogue, data
from apps.hotel.bookings import Bookings
from apps.hotel.cache import NoCache, RedisCache, open_cache
from apps.hotel.catalogue import Profiles, Rates
from apps.hotel.storage import Database
from apps.hotel.users import Users
from apps.processes import Child, free_ports


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[tuple[Child, str]]:
    port = free_ports(1)[0]
    server = Child("redis", ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
                   log=tmp_path / "redis.log")
    server.wait_for_line("Ready to accept connections", 10)
    yield server, f"redis://127.0.0.1:{port}/0"
    server.stop()


def test_the_data_set_has_the_benchmark_s_shape():
    assert len(data.points()) == len(data.profiles()) == len(data.rooms()) == len(data.scores()) == 80
    assert data.position(7) == pytest.approx((37.8255, -122.354))
    assert dict(data.rooms())["6"] == 200 and dict(data.rooms())["7"] == 300 and dict(data.rooms())["8"] == 250
    plans = {plan.hotel_id: plan for plan in data.rate_plans()}
    assert sorted(map(int, plans)) == [1, 2, 3, *range(9, 81, 3)]
    assert (plans["9"].total_rate, plans["9"].total_rate_inclusive, plans["9"].out_date) == (232, 258, "2015-04-24")
    assert (plans["12"].total_rate, plans["12"].out_date) == (124, "2015-04-17")
    assert len(data.users()) == 501 and data.users()[42] == ("Cornell_42", "42" * 10)


def test_rates_come_dearest_first_and_only_for_hotels_with_a_price(tmp_path):
    plans = Rates(tmp_path, NoCache()).plans(["1", "9", "7", "2", "nowhere"])
    assert [(plan.hotel_id, plan.total_rate_inclusive) for plan in plans] == [("9", 258), ("2", 153.09), ("1", 123.17)]


def test_profiles_come_in_the_order_asked(tmp_path):
    profiles = Profiles(tmp_path, NoCache())
    assert [hotel.id for hotel in profiles.profiles(["80", "1", "none", "7"])] == ["80", "1", "7"]
    assert profiles.profiles(["80"]) == [data.profiles()[79]]
    assert profiles.profiles([]) == []


def test_users(tmp_path):
    users = Users(tmp_path)
    assert users.check("Cornell_500", "500" * 10)
    assert not users.check("Cornell_500", "500")
    assert not users.check("Cornell_501", "501" * 10)
    assert not users.check("", "")


def start_everything(folder: Path, together: Barrier) -> None:
    together.wait(60)
    Rates(folder, NoCache())
    Profiles(folder, NoCache())
    Users(folder)
    Bookings(folder)
    catalogue.load_points(folder)
    catalogue.load_scores(folder)


def test_many_processes_may_seed_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(6)
    starters = [context.Process(target=start_everything, args=(tmp_path, together)) for _ in range(6)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(60)
    assert [starter.exitcode for starter in starters] == [0] * 6
    assert sorted(catalogue.load_points(tmp_path)) == sorted(data.points())
    assert sorted(catalogue.load_scores(tmp_path), key=repr) == sorted(data.scores(), key=repr)
    assert Bookings(tmp_path).taken("4", "2015-04-09") == 1


def test_a_restart_keeps_bookings_and_seeds_nothing_again(tmp_path):
    assert Bookings(tmp_path).book("Ann", ["4"], "2015-04-09", "2015-04-10", 2)
    assert Bookings(tmp_path).taken("4", "2015-04-09") == 3


def test_a_seed_that_fails_leaves_nothing(tmp_path):
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1)")
        raise OSError("disk on fire")
    schema = ("CREATE TABLE t (x)",)
    with pytest.raises(OSError):
        Database(tmp_path / "x.db", schema, fail)
    assert Database(tmp_path / "x.db", schema, lambda _: None).query("SELECT * FROM t") == []


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "user.db").write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(sqlite3.DatabaseError):
        Users(tmp_path)


def test_redis_changes_nothing_but_where_rows_come_from(tmp_path, redis_server):
    _, url = redis_server
    ids = ["1", "9", "none", "2", "7"]
    plain_rates, plain_profiles = Rates(tmp_path, NoCache()), Profiles(tmp_path, NoCache())
    rates, profiles = Rates(tmp_path, open_cache(url)), Profiles(tmp_path, open_cache(url))
    for _ in range(2):  # a miss, then a hit
        assert rates.plans(ids) == plain_rates.plans(ids)
        assert profiles.profiles(ids) == plain_profiles.profiles(ids)
    asked: list = []
    RedisCache(url).rows("profile", ["1", "2"], lambda missing: asked.append(missing) or {})
    assert asked == []


def test_a_redis_that_dies_fails_no_request(tmp_path, redis_server):
    server, url = redis_server
    rates = Rates(tmp_path, open_cache(url))
    before = rates.plans(["1", "9"])
    server.stop()
    assert [rates.plans(["1", "9"]) for _ in range(3)] == [before] * 3


def test_redis_is_left_alone_after_a_failure_and_asked_again_later(tmp_path, redis_server):
    server, url = redis_server
    now = [0.0]
    cache = RedisCache(url, clock=lambda: now[0])
    set_junk = subprocess.run(["redis-cli", "-u", url, "set", "hotel:profile:1", "{not json"], capture_output=True)
    assert set_junk.returncode == 0
    assert cache.rows("profile", ["1"], lambda ids: {"1": ["x"]}) == {"1": ["x"]}
    assert cache.rows("other", ["2"], lambda ids: {"2": ["y"]}) == {"2": ["y"]}
    now[0] = 2.0
    assert cache.rows("other", ["2"], lambda ids: {"2": ["z"]}) == {"2": ["z"]}  # nothing was written meanwhile
    assert cache.rows("other", ["2"], lambda ids: {}) == {"2": ["z"]}
