"""Snapshots while others write: what a snapshot holds is of the moment of its cut, and nothing written since is lost."""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, DiskFull, Point, Points
from apps.vectordb.database.disk import Disk
from tests.apps.vectordb.database.plain_index import PlainIndex
from tests.apps.vectordb.database.story import STORY, dump, expected, papers


class Interrupted(Disk):
    """Does the next of the things in line at each step of a snapshot at which no writer has to wait."""

    def __init__(self) -> None:
        self.line: list[Callable[[], Any]] = []
        self.skip = 0
        self._writing = False

    def step(self, name: str) -> None:
        if name.startswith("make folder"):
            self._writing = True
        if self._writing and self.line:
            if self.skip:
                self.skip -= 1
                return
            self._writing = False
            self.line.pop(0)()
            self._writing = True
        if name.startswith("sync folder"):
            self._writing = False


def recovered(folder: Path) -> dict[str, Any]:
    """What is there if the process ends now."""
    copy = folder.with_suffix(".copy")
    shutil.copytree(folder, copy)
    with Database.open(copy, index_type=PlainIndex, background=False) as db:
        found = dump(db)
    with Database.open(copy, index_type=PlainIndex, background=False) as db:
        assert dump(db) == found
    shutil.rmtree(copy)
    return found


@pytest.mark.parametrize("begin", range(1, len(STORY)))
def test_writes_at_every_step_of_a_snapshot(quick_folder: Path, begin: int) -> None:
    """The story goes on inside a snapshot, so that each of its operations is met at each stage; others come after it."""
    states, folder = expected(), quick_folder / "db"
    story = [operation for operation in STORY if "snapshot" not in operation.__code__.co_names]
    begin = min(begin, len(story))
    for skip in (0, 2, 5):
        disk = Interrupted()
        with Database.open(folder, index_type=PlainIndex, disk=disk, background=False) as db:
            for operation in story[:begin]:
                operation(db)
            disk.line = [lambda operation=operation: operation(db) for operation in story[begin:]]
            disk.skip = skip
            db.snapshot()
            assert recovered(folder) == dump(db)
            for rest in disk.line:
                rest()
            disk.line = []
            assert dump(db) == states[-1]
            db.snapshot()
            assert dump(db) == states[-1]
            assert recovered(folder) == states[-1]
        shutil.rmtree(folder)


def test_payloads_written_during_a_snapshot_are_kept(quick_folder: Path) -> None:
    disk = Interrupted()
    with Database.open(quick_folder / "db", index_type=PlainIndex, disk=disk, background=False) as db:
        c = db.create_collection("papers", dim=2)
        c.create_tenant("acme")
        c.upsert("acme", [Point(i, [i, 0], {"n": i}) for i in range(10)])
        db.snapshot()
        c.set_payload("acme", [0, 1], {"n": "before"})
        c.upsert("acme", [Point(i, [i, 0], {"n": i}) for i in range(10, 20)])
        c.delete("acme", [2, 12])
        assert c.count("acme", {"must": [{"key": "n", "match": {"any": ["before", "during"]}}]}) == 2
        disk.line = [
            lambda: c.set_payload("acme", [1, 3, 13], {"n": "during"}),
            lambda: c.upsert("acme", [Point(14, [5, 5], {"n": "during"}), Point(20, [20, 0], {"n": "during"})]),
            lambda: c.delete("acme", [4, 15]),
            lambda: c.set_payload("acme", [20], {"n": "again"}),
        ]
        db.snapshot()
        assert not disk.line
        wanted = {**{i: i for i in range(20)}, 0: "before", **dict.fromkeys((1, 3, 13, 14), "during"), 20: "again"}
        wanted = {key: n for key, n in wanted.items() if key not in (2, 4, 12, 15)}
        for _ in range(2):
            assert {record.id: json.loads(record.payload)["n"] for record in c.scroll("acme", limit=100).records} == wanted
            assert c.count("acme", {"must": [{"key": "n", "match": {"any": ["before", "during"]}}]}) == 5
            assert recovered(quick_folder / "db") == dump(db)
            db.snapshot()


def test_a_snapshot_that_fails_leaves_what_was_written_meanwhile(quick_folder: Path) -> None:
    disk = Interrupted()

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with Database.open(quick_folder / "db", index_type=PlainIndex, disk=disk, background=False) as db:
        for operation in STORY[:5]:
            operation(db)
        disk.line = [lambda: papers(db).set_payload("acme", [1, 4], {"n": "during"}), lambda: papers(db).delete("acme", [2]), fail]
        with pytest.raises(DiskFull):
            db.snapshot()
        after = dump(db)
        assert recovered(quick_folder / "db") == after
        db.snapshot()
        assert dump(db) == after
        assert recovered(quick_folder / "db") == after


def answers(c: Collection) -> list[list[Any]]:
    return [[hit.id for hit in c.search(f"t{number}", np.zeros(8), 20, exact=True)] for number in range(6)]


def test_tenants_may_rest_and_wake_during_a_snapshot(quick_folder: Path) -> None:
    pytest.importorskip("apps.vectordb._curator")
    disk = Interrupted()
    vectors = np.random.default_rng(5).standard_normal((3000, 8)).astype(np.float32)
    with Database.open(quick_folder / "db", disk=disk, background=False, warm_bytes_max=0) as db:
        c = db.create_collection("c", dim=8)
        for number in range(6):
            c.create_tenant(f"t{number}")
            c.upsert(f"t{number}", Points(range(500), vectors[number * 500:][:500]))
        c.grant("t0", range(200), to=["t1", "t2"])
        db.housekeep()
        disk.line = [
            lambda: c.search("t1", vectors[0], 5), lambda: c.delete("t0", range(400, 450)), db.housekeep,
            lambda: c.search("t2", vectors[0], 5), lambda: c.upsert("t3", Points(range(500, 600), vectors[:100] + 100)), db.housekeep]
        db.snapshot()
        assert not disk.line
        assert c._contents.index.stats()["unloaded"] == 6
        shutil.copytree(quick_folder / "db", quick_folder / "copy")
        with Database.open(quick_folder / "copy", background=False) as copy:
            for each in (c, copy.collection("c")):
                each.check()
                assert [each.count(f"t{number}") for number in range(6)] == [450, 700, 700, 600, 500, 500]
            assert answers(copy.collection("c")) == answers(c)
