"""The demo on a few texts: it shows what it says, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console

from apps.processes import StartError
from apps.vectordb import demo, mesh
from apps.vectordb.data import Dataset
from apps.vectordb.data.embed import Embedder

THINGS = ("river", "piano", "violin", "stone", "cloud", "horse", "boat", "bridge", "forest", "singer")
SCRIPT = demo.Script("A tenant is a letter", ("music", "water"), ("what floats?",), "unpublished: a song about boats on a river", "boats on a river",
                     "the violin and the horse")


def few_texts(embed: Embedder) -> Dataset:
    """Texts of "other", of which "music" sees the first half and "water" the second."""
    texts = tuple(f"a {a} near a {b}" for a in THINGS for b in THINGS)
    ids = np.arange(len(texts))
    vectors = embed(texts)
    asked = np.zeros(8, np.uint32)
    return Dataset("few", "cosine", vectors, np.full(len(texts), 2, np.uint32), ids.astype(np.uint64), (ids >= 50).astype(np.uint32),
                   ("music", "water", "other"), vectors[:8], asked, asked, texts)


def test_the_demo_shows_what_it_says_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    meshes: list[mesh.Mesh] = []
    monkeypatch.setattr(demo, "Mesh", lambda: meshes.append(mesh.Mesh()) or meshes[-1])
    monkeypatch.setattr(demo, "console", Console(file=io.StringIO(), width=200))
    pids = []
    monkeypatch.setattr(demo, "show_timings", lambda *given, then=demo.show_timings: (pids.extend(meshes[0].pids.values()), then(*given)))
    environment = dict(os.environ)
    embed = Embedder()
    demo.show(few_texts(embed), SCRIPT, embed)
    told = demo.console.file.getvalue()
    assert "stored 100 texts" in told and "3 tenants: 200 grants" in told
    assert "music, who sees 50 texts" in told
    (answers,) = re.findall(r"^.*unpublished: .*$", told, re.MULTILINE)
    cells = [cell for cell in answers.split("│") if cell.strip()]
    assert ["unpublished" in cell for cell in cells] == [False, True, False]
    (found,) = re.findall(r"^.*a violin near a horse.*$", told, re.MULTILINE)[:1]
    assert found.count("violin") == found.count("horse") == 3
    assert "water gets 0 points" in told
    assert "music: RESOURCE_EXHAUSTED: denied by policy 'results' of chain 'budget'" in told
    assert told.count("100.0%") == 3 and "each at once" not in told
    assert len(pids) == 2 and not any(psutil.pid_exists(pid) for pid in pids) and not meshes[0].folder.exists()
    assert dict(os.environ) == environment


def test_a_service_that_does_not_come_up_is_told_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "SERVICE_COMMAND", ("-c", "raise SystemExit('no disk')"))
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for a socket's name
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        with pytest.raises(StartError, match="no disk"), mesh.Mesh():
            pass
        assert list(Path(folder).iterdir()) == []
