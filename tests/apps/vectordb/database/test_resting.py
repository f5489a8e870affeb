"""Tenants that rest: out of memory until someone asks, and right whatever happened meanwhile. On the real index."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, Points

pytest.importorskip("apps.vectordb._curator")


@pytest.fixture
def folder(quick_folder: Path) -> Path:
    """A database with twenty tenants of a hundred points, each granted to the next."""
    vectors = np.random.default_rng(3).standard_normal((2000, 8)).astype(np.float32)
    with Database.open(quick_folder / "db", background=False) as db:
        c = db.create_collection("c", dim=8)
        for number in range(20):
            c.create_tenant(f"t{number}")
        for number in range(20):
            c.upsert(f"t{number}", Points(range(100), vectors[number * 100:][:100], [{"n": n} for n in range(100)]))
            c.grant(f"t{number}", range(50), to=f"t{(number + 1) % 20}")
    return quick_folder / "db"


def answers(c: Collection) -> list[list[tuple[str, int]]]:
    zero = np.zeros(8, np.float32)
    return [[(hit.owner, hit.id) for hit in c.search(f"t{number}", zero, 150, exact=True)] for number in range(20)]


def resting(c: Collection) -> int:
    return c._contents.index.stats()["unloaded"]


def test_a_full_disk_leaves_all_awake_and_lets_the_directory_go(folder: Path) -> None:
    with Database.open(folder, background=False, warm_bytes_max=0) as db:
        c = db.collection("c")
        c._contents.resting._spool = open("/dev/full", "r+b")  # noqa: SIM115 (the database closes it)
        db.housekeep()
        assert resting(c) == 0
    with Database.open(folder, background=False) as db:
        assert db.collection("c").count("t0") == 150


def test_all_rest_and_wake_when_asked(folder: Path) -> None:
    with Database.open(folder, background=False) as db:
        awake = answers(db.collection("c"))
    with Database.open(folder, background=False, warm_bytes_max=0) as db:
        c = db.collection("c")
        db.housekeep()
        assert resting(c) == 20
        assert c.count("t3") == 150
        assert resting(c) == 20  # a count wakes nobody
        assert answers(c) == awake
        assert resting(c) == 0
        db.housekeep()
        assert [record.id for record in c.scroll("t3", {"must": [{"key": "n", "range": {"gte": 98}}]}).records] == [98, 99]
        assert resting(c) == 19


def test_those_longest_unheard_of_rest_first(folder: Path) -> None:
    with Database.open(folder, background=False) as db:
        limit = db.collection("c")._contents.warm_bytes() // 2
    with Database.open(folder, background=False, warm_bytes_max=limit) as db:
        c = db.collection("c")
        for number in (17, 3, 11):
            c.search(f"t{number}", np.zeros(8), 1)
        db.housekeep()
        assert 0 < resting(c) < 20
        assert not {c._contents.parties.tenant(f"t{number}").number for number in (17, 3, 11)} & set(c._contents.resting._where)


def test_writes_wake_or_pass_over_those_at_rest(folder: Path) -> None:
    with Database.open(folder, background=False, warm_bytes_max=0) as db:
        c = db.collection("c")
        db.housekeep()
        c.delete("t0", range(10))                     # t1 rests on and has lost them
        c.upsert("t5", Points([500], np.ones((1, 8))))
        c.grant("t6", [99], to="t9")
        c.upsert("t7", Points([1], np.full((1, 8), 5.0)))
        c.drop_tenant("t4")
        assert c.count("t1") == 140
        counts = [c.count(f"t{number}") for number in range(20) if number != 4]
        db.housekeep()
        before = [c.search(f"t{number}", np.zeros(8), 150, exact=True).ids for number in range(20) if number != 4]
        assert [len(ids) for ids in before] == [min(count, 150) for count in counts]
        c.check()


def test_rest_lasts_over_snapshots_and_crashes(folder: Path) -> None:
    with Database.open(folder, background=False) as db:
        awake = answers(db.collection("c"))
    for crash in (False, True):
        db = Database.open(folder, background=False, warm_bytes_max=0)
        c = db.collection("c")
        db.housekeep()
        c.upsert("t0", Points([0], c.get("t0", [0], with_vector=True)[0].vector[None]))  # a change, so that there is a snapshot
        db.housekeep()
        if crash:
            db._let_go()
        else:
            db.close()
    with Database.open(folder, background=False) as db:
        assert resting(db.collection("c")) >= 19
        assert answers(db.collection("c")) == awake


def test_a_damaged_tree_is_a_damaged_snapshot(folder: Path) -> None:
    with Database.open(folder, background=False) as db:
        awake = answers(db.collection("c"))
    with Database.open(folder, background=False, warm_bytes_max=0) as db:
        db.housekeep()
        db.collection("c").create_tenant("new")
    [blobs] = sorted(folder.glob("snapshot-*"))[-1].glob("*.resting")
    data = bytearray(blobs.read_bytes())
    data[3] ^= 1
    blobs.write_bytes(data)
    with Database.open(folder, background=False) as db:
        assert "resting: the checksum" in db.recovery.notes[0]
        assert answers(db.collection("c")) == awake
        assert db.collection("c").has_tenant("new")
