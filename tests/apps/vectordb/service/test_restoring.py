"""One tenant brought back from a backup of all, by the commands of --help, without a service."""
from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from apps.vectordb import __main__ as program
from apps.vectordb import restoring
from apps.vectordb.database import Database, Points

VECTORS = np.random.default_rng(1).standard_normal((300, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./vectors, which has lost half of acme since ./backup was copied from it; what the backup holds is in a snapshot and a log."""
    monkeypatch.chdir(tmp_path)
    with Database.open("vectors", background=False, fsync="off") as db:
        papers = db.create_collection("papers", dim=4)
        papers.create_tenant("acme")
        papers.create_tenant("bolt")
        papers.upsert("acme", Points(range(200), VECTORS[:200], [{"n": n} for n in range(200)]))
        for _ in range(7):
            papers.upsert("bolt", Points([1], VECTORS[:1]))
            db.snapshot()
        papers.grant("acme", [150], to="bolt")
        papers.upsert("acme", Points(range(200, 300), VECTORS[200:]))
        shutil.copytree("vectors", "backup")
        papers.delete("acme", range(100, 300))
        papers.upsert("acme", Points([0, 999], VECTORS[:2], [{"n": "new"}] * 2))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(sys, "argv", ["vectordb", *shlex.split(command.partition("apps.vectordb ")[2])])
    program.main()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_examples_of_help_restore_a_tenant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export, into, skip, again = [line for line in restoring.EXAMPLES.splitlines() if "python -m" in line]
    before = files(folder / "backup")
    run(monkeypatch, export)
    with pytest.raises(SystemExit, match="acme"):
        run(monkeypatch, into)  # it is there
    run(monkeypatch, into + " --as copy")
    run(monkeypatch, skip)
    run(monkeypatch, again)
    assert files(folder / "backup") == before
    with Database.open("vectors", background=False) as db:
        papers = db.collection("papers")
        assert [papers.count(tenant) for tenant in ("copy", "acme", "acme-before")] == [101, 301, 200]
        assert papers.get("acme", [0])[0].payload == b'{"n":"new"}' and papers.get("acme-before", [0])[0].payload == b'{"n":0}'
        assert ("acme", 150) in [(record.owner, record.id) for record in papers.scroll("bolt").records]
        papers.check()


@pytest.mark.parametrize(("command", "says"), [
    ("restore --dir vectors --collection papers --from backup", "--tenant"),
    ("restore --dir vectors --collection papers --from backup --tenant nobody", "nobody"),
    ("restore --dir vectors --collection other --from backup --tenant acme", "other"),
    ("restore --dir vectors --collection papers --from nowhere", "nowhere"),
    ("export --from . --collection papers --tenant acme file", "neither a database nor a snapshot"),
    ("export --from backup --collection other --tenant acme file", "other")])
def test_what_cannot_be_restored_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        run(monkeypatch, "apps.vectordb " + command)
    with Database.open("vectors", background=False) as db:
        assert db.collection("papers").count("acme") == 101 and [each.name for each in db.collection("papers").tenants()] == ["acme", "bolt"]


def test_a_database_that_is_served_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database.open("vectors", background=False), pytest.raises(SystemExit, match="is open in process"):
        run(monkeypatch, "apps.vectordb restore --dir vectors --collection papers --from backup --tenant acme --conflicts skip")
