from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.vectordb.database import Collection, Database
from tests.apps.vectordb.database.plain_index import PlainIndex


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where an fsync takes no time: what tests of durability judge is the order of steps."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 512 << 20:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def memory(clock: Clock) -> Iterator[Database]:
    """A database that keeps nothing."""
    with Database.open(None, index_type=PlainIndex, background=False, clock=clock) as db:
        yield db


@pytest.fixture
def papers(memory: Database) -> Collection:
    """A collection of two dimensions with the tenants acme, bolt and cove, and nothing in it."""
    collection = memory.create_collection("papers", dim=2)
    for name in ("acme", "bolt", "cove"):
        collection.create_tenant(name)
    return collection
