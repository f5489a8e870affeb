"""Opening again: what was acknowledged is there, and what is wrong with the files is mended or said."""
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.vectordb.database import Damaged, Database, Locked, NotFound, Point
from tests.apps.vectordb.database.plain_index import PlainIndex
from tests.apps.vectordb.database.story import STORY, dump, expected, papers


def opened(folder: Path, **settings: object) -> Database:
    return Database.open(folder, index_type=PlainIndex, background=False, **settings)


def crashed(folder: Path, operations: int = len(STORY), **settings: object) -> Path:
    """A folder as a process leaves it that is killed after so many operations."""
    db = opened(folder, **settings)
    for operation in STORY[:operations]:
        operation(db)
    db._let_go()
    return folder


def wals(folder: Path) -> list[Path]:
    return sorted(folder.glob("wal-*.log"))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("fsync", ["group", "always", "interval", "off"])
def test_every_prefix_of_a_life_is_there_again(quick_folder: Path, fsync: str) -> None:
    for operations, state in enumerate(expected()):
        folder = crashed(quick_folder / str(operations), operations, fsync=fsync)
        with opened(folder) as db:
            assert dump(db) == state
        with opened(folder) as db:  # now from the snapshot that closing made
            assert dump(db) == state
            assert db.recovery.replayed == 0
        shutil.rmtree(folder)


def test_writing_goes_on_after_recovery(quick_folder: Path) -> None:
    folder = crashed(quick_folder / "db", 5)
    for round_ in range(3):
        with opened(folder) as db:
            papers(db).upsert("acme", [Point(100 + round_, [0, 0])])
            assert papers(db).count("acme") == 7 + round_
            papers(db).delete("acme", [round_])
            papers(db).upsert("acme", [Point(round_, [round_, 0])])


def test_a_torn_tail_is_cut_off_wherever_it_is_torn(quick_folder: Path) -> None:
    folder = crashed(quick_folder / "db", 6)
    wal, states = wals(folder)[0], expected()
    whole = wal.read_bytes()
    used = len(whole.rstrip(b"\0"))
    for end in range(40, used, 7):
        wal.write_bytes(whole[:end])
        with opened(folder) as db:
            assert dump(db) in states[:6]
            assert all("cut off" in note and str(wal) in note for note in db.recovery.notes)
        for path in (*folder.glob("wal-*"), *folder.glob("snapshot-*/*")):
            path.unlink()
        for path in folder.glob("snapshot-*"):
            path.rmdir()


def test_a_damaged_middle_is_an_error_that_says_where(quick_folder: Path) -> None:
    folder = crashed(quick_folder / "db", 6)
    flip(wals(folder)[0], 32 + 24 + 5)
    with pytest.raises(Damaged, match=r"wal-0000000000.log: offset 32: .*restore"):
        opened(folder)
    with pytest.raises(Damaged):  # and it changed nothing
        opened(folder)


def test_a_lost_write_before_one_that_is_there_was_not_acknowledged(quick_folder: Path) -> None:
    """Power fails while two writes are on their way: the second may be on the disk and the first not."""
    folder = crashed(quick_folder / "db", 3, fsync="off")
    flip(wals(folder)[0], 32 + 24 + 5)
    with opened(folder) as db:
        assert dump(db) == {}
        assert "cut off" in db.recovery.notes[0]


@pytest.mark.parametrize("victim", ["manifest", "collection-1.points", "collection-1.index"])
@pytest.mark.parametrize("harm", [lambda path: flip(path, path.stat().st_size // 2), lambda path: path.write_bytes(path.read_bytes()[:-8]),
                                  lambda path: path.write_bytes(b""), lambda path: path.unlink()], ids=["flip", "cut", "empty", "gone"])
def test_a_damaged_snapshot_is_passed_over(quick_folder: Path, victim: str, harm: Callable[[Path], None]) -> None:
    folder = crashed(quick_folder / "db")
    newest = sorted(folder.glob("snapshot-*"))[-1]
    harm(newest / victim)
    with opened(folder) as db:
        assert dump(db) == expected()[-1]
        assert "going on from the snapshot before" in db.recovery.notes[0]
        assert victim in db.recovery.notes[0]


def test_no_good_snapshot_is_an_error(quick_folder: Path) -> None:
    folder = crashed(quick_folder / "db")
    for manifest in folder.glob("snapshot-*/manifest"):
        flip(manifest, 40)
    with pytest.raises(Damaged, match="no snapshot is good"):
        opened(folder)


def test_a_missing_segment_is_an_error(quick_folder: Path) -> None:
    folder = crashed(quick_folder / "db")
    wals(folder)[-1].unlink()
    with pytest.raises(Damaged, match="missing"):
        opened(folder)


def test_two_generations_are_kept(quick_folder: Path) -> None:
    folder = crashed(quick_folder / "db")
    assert [path.name for path in sorted(folder.iterdir())] == [
        "LOCK", "snapshot-0000000002", "snapshot-0000000003", "wal-0000000002.log", "wal-0000000003.log"]


def test_one_process_at_a_time(quick_folder: Path) -> None:
    with opened(quick_folder / "db"), pytest.raises(Locked, match="open in process"):
        opened(quick_folder / "db")
    opened(quick_folder / "db").close()


def test_a_long_log_leads_to_a_snapshot(quick_folder: Path) -> None:
    with opened(quick_folder / "db", wal_bytes_max=1 << 16) as db:
        db.create_collection("papers", dim=2).create_tenant("acme")
        for batch in range(3):
            papers(db).upsert("acme", [Point(batch * 1000 + i, [i, 0], {"text": "x" * 60}) for i in range(1000)])
        db.housekeep()
        assert sorted(quick_folder.glob("db/snapshot-*"))
        assert papers(db).count("acme") == 3000


def test_a_dropped_collection_takes_no_more_writes(quick_folder: Path) -> None:
    """A record of what is not there could not be done again."""
    with opened(quick_folder / "db") as db:
        c = db.create_collection("papers", dim=2)
        c.create_tenant("acme")
        db.drop_collection("papers")
        for late in (lambda: c.create_tenant("bolt"), lambda: c.upsert("acme", [Point(1, [0, 0])]), lambda: c.search("acme", [0, 0], 1)):
            with pytest.raises(NotFound, match="dropped"):
                late()
        db._let_go()
    with opened(quick_folder / "db") as db:
        assert db.collections() == []


def test_any_flipped_bit_of_a_snapshot_is_noticed(quick_folder: Path) -> None:
    folder, state = crashed(quick_folder / "db"), expected()[-1]
    newest = sorted(folder.glob("snapshot-*"))[-1]
    for path in sorted(newest.iterdir()):
        whole = path.read_bytes()
        for offset in range(0, len(whole), max(1, len(whole) // 12)):
            copy = quick_folder / "copy"
            shutil.copytree(folder, copy)
            flip(copy / newest.name / path.name, offset)
            with opened(copy) as db:
                assert dump(db) == state, (path, offset)
            shutil.rmtree(copy)


def test_a_dropped_tenant_leaves_no_trace_in_later_snapshots(quick_folder: Path) -> None:
    with opened(quick_folder / "db") as db:
        c = db.create_collection("papers", dim=2)
        for number in range(3):
            c.create_tenant("acme")
            c.upsert("acme", [Point(1, [0, 0], {"secret": number})])
            db.snapshot()
            c.drop_tenant("acme")
        db.snapshot()
        assert c._contents.namespaces == {}
        db.snapshot()
    assert not [path for path in quick_folder.glob("db/*/*.points") if path.stat().st_size]


def test_a_dropped_collection_stays_away(quick_folder: Path) -> None:
    with opened(quick_folder / "db") as db:
        db.create_collection("papers", dim=2)
        db.drop_collection("papers")
        db.create_collection("papers", dim=3)
    with opened(quick_folder / "db") as db:
        assert db.collection("papers").config.dim == 3
        with pytest.raises(NotFound):
            db.collection("notes")
