"""Readers beside a writer, and writers who share an fsync."""
from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, Point, Points, Quota, QuotaExceeded
from apps.vectordb.database.disk import Disk
from apps.vectordb.database.records import Change, pb
from tests.apps.vectordb.database.plain_index import PlainIndex


def in_threads(*jobs: Callable[[], Any]) -> None:
    """Runs them at once; the first error of any is raised."""
    errors: list[BaseException] = []

    def run(job: Callable[[], Any]) -> None:
        try:
            job()
        except BaseException as error:  # handed to the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_reads_wait_for_no_writer(papers: Collection) -> None:
    papers.upsert("acme", [Point(i, [i, 0], {"n": i}) for i in range(5)])
    with papers._journal.writing():  # a read that took this lock would never return
        assert papers.search("acme", [0, 0], 2).ids == [0, 1]
        assert papers.count("acme", {"must": [{"key": "n", "range": {"gt": 2}}]}) == 2
        assert len(papers.scroll("acme", limit=2).records) == 2
        assert papers.get("acme", [3])[0].id == 3
        papers.usage("acme"), papers.tenants(), papers.recall()


def test_closing_waits_for_the_write_under_way(quick_folder: Path) -> None:
    with Database.open(quick_folder, index_type=PlainIndex, background=False) as db:
        db.create_collection("papers", dim=2).create_tenant("acme")
    db = Database.open(quick_folder, index_type=PlainIndex, background=False)  # nothing written since the snapshot
    closing = threading.Thread(target=db.close)
    with db._journal.writing() as write:
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        db.collection("papers")._commit(write, Change(party=pb.Party(number=7, name="bolt")))
    closing.join()
    with Database.open(quick_folder, index_type=PlainIndex, background=False) as db:
        assert db.collection("papers").has_tenant("bolt")


def test_a_role_that_is_dropped_while_a_member_is_described(papers: Collection) -> None:
    papers.create_role("team")
    papers.add_member("team", "acme")
    acme = papers._contents.parties.tenant("acme")
    before = acme.scope
    papers.drop_tenant("team")
    acme.scope = before  # as whoever read it a moment ago still has it
    assert papers.tenant("acme").roles == ()


def test_a_role_that_comes_and_goes_while_a_member_looks(papers: Collection) -> None:
    papers.create_role("team")
    papers.upsert("bolt", [Point(1, [1, 1], {"secret": 1})])
    papers.grant("bolt", [1], to="team")

    class Joining(Counter[int]):
        """Whoever reads a figure finds that acme has become a member just after."""

        def __getitem__(self, number: int) -> int:
            if papers.tenant("acme").roles == ():
                papers.add_member("team", "acme")
            return super().__getitem__(number)

    papers._contents.granted = Joining(papers._contents.granted)
    papers.count("acme", {})
    papers._contents.granted = Counter(papers._contents.granted)
    papers.remove_member("team", "acme")
    assert papers.count("acme", {}) == 0
    assert papers.scroll("acme", {}).records == []


def test_a_search_goes_on_when_a_role_at_rest_comes(quick_folder: Path) -> None:
    with Database.open(quick_folder, background=False, warm_bytes_max=0) as db:
        papers = db.create_collection("papers", dim=2)
        for name in ("acme", "bolt"):
            papers.create_tenant(name)
        papers.create_role("team")
        papers.upsert("acme", [Point(1, [1, 1])])
        papers.upsert("bolt", [Point(1, [1, 1])])
        papers.grant("bolt", [1], to="team")
        db.housekeep()  # all rest
        resting = papers._contents.resting
        wake = resting.wake

        def wake_and_join(numbers: Any) -> None:
            wake(numbers)
            if papers.tenant("acme").roles == ():
                papers.add_member("team", "acme")

        resting.wake = wake_and_join
        assert papers.search("acme", [1, 1], 10).owners == ["acme"]
        assert papers.search("acme", [1, 1], 10).owners == ["acme", "bolt"]


class Held(Disk):
    """Its first sync, once armed, waits until `release` is set."""

    def __init__(self) -> None:
        self.armed = False
        self.syncs = 0
        self.begun, self.release = threading.Event(), threading.Event()

    def sync(self, fd: int) -> None:
        if self.armed:
            self.syncs += 1
            if self.syncs == 1:
                self.begun.set()
                assert self.release.wait(30)
        super().sync(fd)


@pytest.mark.parametrize(("fsync", "syncs"), [("group", 2), ("off", 0), ("interval", 0)])
def test_writers_share_an_fsync(quick_folder: Path, fsync: str, syncs: int) -> None:
    disk = Held()
    with Database.open(quick_folder / "db", index_type=PlainIndex, background=False, disk=disk, fsync=fsync) as db:
        c = db.create_collection("c", dim=2)
        c.create_tenant("acme")
        disk.armed = True
        first = threading.Thread(target=lambda: c.upsert("acme", [Point(0, [0, 0])]))
        first.start()
        if syncs:
            assert disk.begun.wait(30)
        others = [threading.Thread(target=lambda i=i: c.upsert("acme", [Point(i, [i, 0])])) for i in range(1, 9)]
        for thread in others:
            thread.start()
        while db._wal.sequence < 2 + 9 and syncs:  # all of them are in the log, and none is told so
            pass
        assert all(thread.is_alive() for thread in others) or not syncs
        disk.release.set()
        for thread in (first, *others):
            thread.join()
        assert disk.syncs == syncs
        disk.armed = False


def test_readers_see_whole_points_beside_writers(quick_folder: Path) -> None:
    """Of a point that is written anew again and again: always one of its payloads; of others, that they are there, all the time."""
    pytest.importorskip("apps.vectordb._curator")
    rng = np.random.default_rng(5)
    with Database.open(quick_folder / "db", background=False, warm_bytes_max=0) as db:
        c = db.create_collection("c", dim=8)
        for name in ("acme", "bolt", "cove"):
            c.create_tenant(name)
        fixed = rng.standard_normal((300, 8)).astype(np.float32)
        c.upsert("acme", Points(range(300), fixed, [{"n": n} for n in range(300)]))
        c.grant("acme", range(300), to="bolt")
        done = threading.Event()

        def write() -> None:
            try:
                for round_ in range(40):
                    c.upsert("acme", Points(range(1000, 1100), rng.standard_normal((100, 8)), [{"n": -round_}] * 100))
                    c.grant("acme", range(1000, 1050), to="bolt")
                    c.set_payload("acme", range(1000, 1010), {"again": round_})
                    c.revoke("acme", range(1000, 1020), from_="bolt")
                    c.delete("acme", range(1000, 1100))
                    if round_ % 10 == 9:
                        db.snapshot()
                        db.housekeep()  # puts everybody to rest
            finally:
                done.set()

        def read(tenant: str) -> None:
            while not done.is_set():
                hits = c.search(tenant, fixed[7], 5, exact=True)
                assert (hits.owners[0], hits.ids[0], json.loads(hits.payloads[0])) == ("acme", 7, {"n": 7})
                assert len(hits) == 5
                assert c.count(tenant, {"must": [{"key": "n", "range": {"gte": 1}}]}) == 299
                assert len(c.search("cove", fixed[7], 5)) == 0
                assert c.get("bolt", [("acme", 7)])[0].id == 7

        in_threads(write, lambda: read("acme"), lambda: read("bolt"))
        assert c.count("bolt") == 300
        c.check()


def test_counters_and_limits_add_up_over_threads(papers: Collection) -> None:
    papers.set_quota("acme", Quota(queries_per_s=1, burst=100))
    refused = []

    def ask() -> None:
        for _ in range(50):
            try:
                papers.search("acme", [0, 0], 1)
            except QuotaExceeded:
                refused.append(1)

    in_threads(ask, ask, ask)
    usage = papers.usage("acme")
    assert (usage.queries, usage.refused) == (100, 50) == (100, len(refused))
