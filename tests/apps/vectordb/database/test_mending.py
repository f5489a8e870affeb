"""Indexes are taught and mended beside the calls: soon after they have grown, cheaply while somebody calls, and once, not again after a restart."""
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apps.vectordb.client import QdrantClient, models
from apps.vectordb.database import Collection, Database, DiskFull, Points
from apps.vectordb.database.disk import Disk
from apps.vectordb.database.housekeeping import Housekeeper
from apps.vectordb.database.mending import MEND_VECTORS, QUIET_S, SHARES, Mender
from apps.vectordb.database.quota import Tallies

DIM, POINTS = 8, 6000
VECTORS = np.random.default_rng(1).standard_normal((POINTS, DIM)).astype(np.float32)


def loaded(db: Database) -> Collection:
    """6,000 points of acme: enough that its index wants to be taught."""
    papers = db.create_collection("papers", dim=DIM)
    papers.create_tenant("acme")
    load(papers)
    return papers


def load(papers: Collection) -> None:
    for at in range(0, POINTS, 1000):
        papers.upsert("acme", Points(range(at, at + 1000), VECTORS[at:at + 1000]))


def test_searches_teach_where_nobody_keeps_house() -> None:
    with Database.open(None, background=False) as db:
        papers = loaded(db)
        assert not papers.usage("acme").taught and papers._contents.index.stats()["taught"] == 0
        searches = 0
        while not papers.usage("acme").taught:
            assert [hit.id for hit in papers.search("acme", VECTORS[searches], 1)] == [searches]
            searches += 1
        assert 10 < searches < 1000  # a small piece each
        assert papers._contents.index.stats()["taught"] == 1


def test_a_client_in_memory_is_taught_by_its_searches() -> None:
    with QdrantClient(":memory:") as client:
        client.create_collection("papers", models.VectorParams(size=DIM, distance=models.Distance.EUCLID))
        client.upload_collection("papers", VECTORS, ids=range(POINTS))
        assert not client.usage("papers").taught
        for at in range(1000):
            client.query_points("papers", VECTORS[at], limit=1)
            if client.usage("papers").taught:
                break
        assert client.usage("papers").taught


def test_a_load_wakes_housekeeping() -> None:
    with Database.open(None, interval_s=3600) as db:
        papers = db.create_collection("papers", dim=DIM)
        papers.create_tenant("acme")
        taught, teach = threading.Event(), papers._contents.teach

        def noted(vectors: int | None = None) -> None:
            teach(vectors)
            taught.set()

        papers._contents.teach = noted
        papers.upsert("acme", Points([1], VECTORS[:1]))
        assert not taught.is_set()  # one point wakes nobody
        load(papers)
        assert taught.wait(30) and papers.usage("acme").taught


class Work:
    """Contents that take pieces of 4 ms to mend, on a clock of their own."""

    def __init__(self, pieces: int) -> None:
        self.now, self.left, self.tallies = 0.0, pieces, Tallies()

    def clock(self) -> float:
        return self.now

    def mend(self, vectors: int) -> bool:
        assert vectors == MEND_VECTORS
        if self.left == 0:
            return False
        self.left -= 1
        self.now += 0.004
        return True


def mended_in(seconds: float, work: Work, mender: Mender, meanwhile: Callable[[], None] = lambda: None) -> int:
    before, end = work.left, work.now + seconds
    while work.now < end:
        work.now += mender.piece()
        meanwhile()
    return before - work.left


def test_mending_takes_little_time_while_somebody_calls_and_more_while_nobody_does() -> None:
    work = Work(100_000)
    mender = Mender(lambda: [work], work.clock)
    called = mended_in(100, work, mender, lambda: work.tallies.searched(1, 1, 10, 0.001))
    assert 0.5 * SHARES[0] < called * 0.004 / 100 < 1.5 * SHARES[0]
    alone = mended_in(100, work, mender)
    assert 0.9 * SHARES[1] < alone * 0.004 / 100 < 1.1 * SHARES[1]
    work.tallies.add(1, points_written=1)
    assert mended_in(QUIET_S / 2, work, mender) <= 1
    work.left = 0
    assert mender.mend() is False and mender.piece() == QUIET_S


def test_a_debt_of_a_long_piece_is_paid_sooner_when_it_becomes_quiet() -> None:
    work = Work(100_000)
    mender = Mender(lambda: [work], work.clock)
    work.tallies.add(1, points_written=1)
    mender.piece()
    work.now += 2 * QUIET_S
    assert mended_in(1, work, mender) > 10


def test_a_clock_that_jumps_stops_no_mending_for_long() -> None:
    work = Work(100_000)
    mender = Mender(lambda: [work], work.clock)
    for jump in (-1e6, 1e6, -1e6):
        work.now += jump
        mended_in(2 * QUIET_S, work, mender)
        assert mended_in(10, work, mender) > 100


def drifted(db: Database) -> Collection:
    """A collection of which the most was written after the tree was made, elsewhere."""
    rng = np.random.default_rng(2)
    papers = db.create_collection("papers", dim=4)
    papers.create_tenant("acme")
    for at in range(0, 12_000, 500):
        papers.upsert("acme", Points(range(at, at + 500), rng.standard_normal((500, 4)) + at / 300))
    return papers


def pieces_left(collection: Collection, rounds: int) -> int:
    """Pieces that are left to mend."""
    return next(at for at in range(rounds) if not collection._contents.mend(300))


def test_mending_goes_on_after_a_clean_restart(tmp_path: Path) -> None:
    with Database.open(None, background=False) as db:
        whole = pieces_left(drifted(db), 10_000)
    assert whole > 30
    with Database.open(tmp_path / "db", background=False, fsync="off") as db:
        drifted(db)
        db.snapshot()
    done = 0
    for _ in range(3):
        with Database.open(tmp_path / "db", background=False) as db:  # nothing is written from here on
            papers = db.collection("papers")
            for _ in range(whole // 4):
                assert papers._contents.mend(300)
            done += whole // 4
    with Database.open(tmp_path / "db", background=False) as db:
        assert pieces_left(db.collection("papers"), 10_000) <= whole - done + whole // 8
        db.collection("papers").check()


def test_what_was_learnt_is_there_after_a_clean_restart(tmp_path: Path) -> None:
    with Database.open(tmp_path / "db", background=False, fsync="off") as db:
        loaded(db)
        db.snapshot()
        assert not db.collection("papers").usage("acme").taught
        db.housekeep()
    with Database.open(tmp_path / "db", background=False) as db:
        assert db.collection("papers").usage("acme").taught
        kept = db.collection("papers")._contents.stamp
        db.housekeep()
        assert db.collection("papers")._contents.stamp == kept  # nothing to do, and nothing to save
        generation = db.recovery.generation
    with Database.open(tmp_path / "db", background=False) as db:
        assert db.recovery.generation == generation


def test_a_disk_that_is_full_when_only_mending_is_to_be_saved(tmp_path: Path) -> None:
    class Full(Disk):
        full = False

        def step(self, name: str) -> None:
            if self.full and not name.startswith("sync"):
                raise OSError(28, "No space left on device")

    disk = Full()
    with Database.open(tmp_path / "db", disk=disk, background=False) as db:
        papers = loaded(db)
        db.snapshot()
        disk.full = True
        db.housekeep()
        with pytest.raises(DiskFull):
            db.snapshot()
        assert [hit.id for hit in papers.search("acme", VECTORS[7], 1)] == [7]  # and closing raises nothing
    with Database.open(tmp_path / "db", background=False) as db:
        assert db.collection("papers").count("acme") == POINTS and not db.collection("papers").usage("acme").taught


@pytest.mark.parametrize("fails", [False, True])
def test_a_round_is_run_when_woken_and_spare_work_between_rounds(fails: bool) -> None:
    rounds, pieces, enough = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def chore() -> None:
        rounds.release()
        if fails:
            raise OSError("no")

    def spare() -> float:
        pieces.release()
        if fails:
            raise OSError("no")
        return 3600.0 if enough.is_set() else 0.0001

    keeper = Housekeeper([chore], spare, interval_s=3600)
    keeper.start()
    for _ in range(1 if fails else 5):
        assert pieces.acquire(timeout=30)
    for _ in range(3):
        keeper.wake()
        assert rounds.acquire(timeout=30)
    enough.set()
    keeper.close()
