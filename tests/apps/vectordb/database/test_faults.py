"""A database that is killed, loses power, or finds the disk full or broken, at every change of a file that it makes.

What was acknowledged is there when it is opened again; of the operation that was under way all is there or nothing.
"""
from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from apps.vectordb.database import Closed, Damaged, Database, DiskFull, Point
from apps.vectordb.database.disk import Disk
from tests.apps.vectordb.database.plain_index import PlainIndex
from tests.apps.vectordb.database.story import STORY, dump, expected, papers


class Counting(Disk):
    """Remembers the names of the fault points that it passed."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        self.steps.append(name)


class Killing(Counting):
    """Ends the process with SIGKILL at one step: before it, or when half of a write is done."""

    def __init__(self, at: int, half: bool) -> None:
        super().__init__()
        self._at, self._half = at, half

    def _now(self) -> bool:
        return len(self.steps) == self._at + 1

    def step(self, name: str) -> None:
        super().step(name)
        if self._now() and not (self._half and name == "write"):
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, fd: int, parts: Sequence[bytes | memoryview], offset: int) -> int:
        if self._half and len(self.steps) == self._at:
            whole = b"".join(map(bytes, parts))
            super().write(fd, [whole[:len(whole) // 2]], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(fd, parts, offset)


def opened(folder: Path, disk: Disk | None = None, **settings: Any) -> Database:
    return Database.open(folder, index_type=PlainIndex, disk=disk, background=False, **settings)


def live(folder: Path, disk: Disk) -> Iterator[None]:
    """The story, with a yield after each operation that was acknowledged."""
    with opened(folder, disk) as db:
        for operation in STORY:
            operation(db)
            yield


def steps_of_the_story(folder: Path) -> list[str]:
    disk = Counting()
    for _ in live(folder, disk):
        pass
    return disk.steps


def killed_at(folder: Path, at: int, half: bool) -> int:
    """Lives the story in a process that is killed at the step; how many operations were acknowledged."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons mind a fork beside threads; the child uses none of theirs
        child = os.fork()
    if child == 0:
        try:
            for _ in live(folder, Killing(at, half)):
                os.write(write, b".")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as acknowledged:
        count = len(acknowledged.read())
    os.waitpid(child, 0)
    return count


@pytest.mark.parametrize("half", [False, True], ids=["before", "half"])
def test_kill_at_every_step(quick_folder: Path, half: bool) -> None:
    states = expected()
    steps = steps_of_the_story(quick_folder / "whole")
    assert len(steps) > 80
    for at, step in enumerate(steps):
        if half and step != "write":
            continue
        folder = quick_folder / f"at-{at}"
        acknowledged = killed_at(folder, at, half)
        with opened(folder) as db:
            assert dump(db) in states[acknowledged:acknowledged + 2], f"killed at step {at}, {step}, after {acknowledged} operations"
        shutil.rmtree(folder)


class Refusing(Counting):
    """From one step on, so many of the named steps fail with the error, a write half way; then all is well again."""

    def __init__(self, at: int, error: int, steps: tuple[str, ...], times: int = 1) -> None:
        super().__init__()
        self._at, self._error, self._refused, self._times = at, error, steps, times

    def step(self, name: str) -> None:
        super().step(name)
        if name != "write":
            self._refuse(name)

    def write(self, fd: int, parts: Sequence[bytes | memoryview], offset: int) -> int:
        end = super().write(fd, parts[:-1], offset)
        self._refuse("write")
        return super().write(fd, parts[-1:], end)

    def _refuse(self, name: str) -> None:
        if len(self.steps) > self._at and self._times and name.startswith(self._refused):
            self._times -= 1
            raise OSError(self._error, os.strerror(self._error))


def dump_of_a_copy(folder: Path) -> dict[str, Any]:
    """What is there if the process ends now."""
    copy = folder.with_suffix(".copy")
    shutil.copytree(folder, copy)
    with opened(copy) as db:
        found = dump(db)
    shutil.rmtree(copy)
    return found


ROOM = ("create", "allocate", "write", "make folder", "link", "save index", "rename")


@pytest.mark.parametrize("times", [1, 3])
def test_disk_full_at_every_step(quick_folder: Path, times: int) -> None:
    """Each refused operation changes nothing, says so, and succeeds when there is room."""
    states = expected()
    for at in range(0, len(steps_of_the_story(quick_folder / "whole")), times):
        folder = quick_folder / f"at-{at}"
        with opened(folder) as db:
            pass
        with opened(folder, Refusing(at, errno.ENOSPC, ROOM, times)) as db:
            for done, operation in enumerate(STORY):
                for _ in range(times + 1):
                    try:
                        operation(db)
                    except DiskFull as error:
                        assert str(folder) in str(error)
                        assert dump(db) == states[done], f"full at step {at}"
                        assert dump_of_a_copy(folder) == states[done], f"full at step {at}"
                    else:
                        break
                assert dump(db) == states[done + 1], f"full at step {at}"
            db._let_go()
        with opened(folder) as db:
            assert dump(db) == states[-1], f"full at step {at}"
        shutil.rmtree(folder)


def test_a_failed_sync_ends_writing_and_loses_nothing_acknowledged(quick_folder: Path) -> None:
    states = expected()
    for at in range(0, len(steps_of_the_story(quick_folder / "whole")), 3):
        folder, acknowledged = quick_folder / f"at-{at}", 0
        disk = Refusing(at, errno.EIO, ("sync",))
        try:
            with opened(folder, disk) as db:
                for acknowledged, operation in enumerate(STORY):  # noqa: B007
                    operation(db)
                acknowledged += 1
        except (Damaged, Closed):
            pass
        with opened(folder) as db:
            assert dump(db) in states[acknowledged:acknowledged + 2], f"sync failed at step {at}"
        shutil.rmtree(folder)


def test_after_a_failed_sync_reads_go_on_and_writes_do_not(quick_folder: Path) -> None:
    disk = Refusing(10**9, errno.EIO, ("sync",))
    with opened(quick_folder / "db", disk) as db:
        for operation in STORY[:5]:
            operation(db)
        disk._at = 0
        with pytest.raises(Damaged):
            papers(db).delete("acme", [1])
        with pytest.raises(Closed, match="open the database again"):
            papers(db).delete("acme", [2])
        papers(db).count("acme")


class Losing(Counting):
    """Keeps a second copy of the files as they are on the disk: what was written since the last sync of a file is not in it.

    cut() puts that copy, with any part of the unsynced writes, in place of the folder: as after a loss of power.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self._unsynced: dict[int, list[tuple[int, bytes]]] = {}

    def step(self, name: str) -> None:
        super().step(name)
        if len(self.steps) > self._at:
            raise KeyboardInterrupt  # nobody handles it: the process is as good as gone

    def write(self, fd: int, parts: Sequence[bytes | memoryview], offset: int) -> int:
        whole = b"".join(map(bytes, parts))
        end = super().write(fd, [whole], offset)
        self._unsynced.setdefault(os.fstat(fd).st_ino, []).append((offset, whole))
        return end

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self._unsynced.pop(os.fstat(fd).st_ino, None)

    def cut(self, folder: Path, dice: random.Random) -> None:
        """Any 512 bytes that were written and not synced may be zeros."""
        for path in folder.rglob("*"):
            for offset, whole in self._unsynced.get(path.stat().st_ino, []):
                with path.open("r+b") as file:
                    for at in range(0, len(whole), 512):
                        if dice.random() < 0.5:
                            file.seek(offset + at)
                            file.write(bytes(len(whole[at:at + 512])))


def test_power_lost_at_every_step(quick_folder: Path) -> None:
    states, dice = expected(), random.Random(7)
    for at in range(len(steps_of_the_story(quick_folder / "whole"))):
        folder, acknowledged, disk = quick_folder / f"at-{at}", 0, Losing(at)
        db = None
        try:
            db = opened(folder, disk)
            for operation in STORY:
                operation(db)
                acknowledged += 1
        except KeyboardInterrupt:
            pass
        if db is not None:
            os.close(db._wal._fd)
            db._lock.close()
        disk.cut(folder, dice)
        with opened(folder) as again:
            assert dump(again) in states[acknowledged:acknowledged + 2], f"power lost at step {at}"
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(quick_folder: Path) -> None:
    """On a file system of one MiB, in a mount namespace of a process of its own."""
    mount = quick_folder / "small"
    mount.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m none {mount} 2>/dev/null"):
        pytest.skip("cannot mount a tmpfs here")
    try:
        with opened(mount / "db") as db:
            db.create_collection("papers", dim=2).create_tenant("acme")
            written = 0
            with pytest.raises(DiskFull):
                while True:
                    papers(db).upsert("acme", [Point(written * 100 + i, [i, 0], {"text": "x" * 500}) for i in range(100)])
                    written += 1
            assert 5 < written < 20
            assert papers(db).count("acme") == written * 100
            db._let_go()
        with opened(mount / "db") as db:
            assert papers(db).count("acme") == written * 100
            os.system(f"mount -o remount,size=8m {mount}")
            papers(db).upsert("acme", [Point(10**6, [0, 0])])
            db.snapshot()
        with opened(mount / "db") as db:
            assert papers(db).count("acme") == written * 100 + 1
    finally:
        os.system(f"umount -l {mount}")
