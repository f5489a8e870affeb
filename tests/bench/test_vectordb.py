"""bench.vectordb on a small scale: every system answers, every part measures something, and a run that was cut off goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apps.vectordb.data import CASES, Dataset, synthetic
from bench.common.report import Report
from bench.vectordb import claims, scale, search, updates
from bench.vectordb.corpus import Corpus, K

EDGES = (100, 200)
RIVALS = (*scale.SCANS, "ivf-bitmap-8", "ivf-per-tenant", *scale.GRAPHS, *scale.ENGINES)
EXACT = ("scan by id (faiss)", "scan by id (numpy)", "scan of a copy (faiss)", "scan of a copy (numpy)")


def small(name: str = "synthetic") -> Dataset:
    return synthetic(n=1500, dim=16, tenants=20, clusters=12, per_vector=4, queries=40)


@pytest.fixture
def bench() -> Iterator[scale.Bench]:
    sets = {"synthetic": scale.Set("synthetic", EDGES, ())}
    few = scale.Scale(sets, passes=1, queries=None, slow_queries=10, build_seconds=60, sweep_seconds=5, batches=1, seconds=0.2, batch=100)
    with tempfile.TemporaryDirectory(prefix="vb-") as folder:  # pytest's are too long for a Unix socket
        Path(folder).chmod(0o711)
        yield scale.Bench(Report("vectordb", environment={}), few, Path(folder), lambda text: None, small)


def rivals(bench: scale.Bench, *names: str) -> None:
    bench.scale.sets["synthetic"] = scale.Set("synthetic", EDGES, names)


def test_every_rival_is_built_and_answers_at_equal_recall(bench: scale.Bench) -> None:
    rivals(bench, *RIVALS)
    search.one_set(bench, "synthetic")
    assert not [row for row in bench.report.rows if row.failed and row.system != "curator"]
    for case in CASES:
        found = {row.system: row.spread[0] for row in bench.report.rows if row.work == f"synthetic, {case}" and row.metric == search.RECALL_ROW}
        assert len(found) >= len(RIVALS)
        assert all(found[name] == 1 for name in EXACT)
        assert all(recall >= 0.9 for recall in found.values()), found
        assert all(bench.report.find(f"synthetic, {case}", name, "mean") for name in found)


def test_changes_and_memory_are_measured(bench: scale.Bench) -> None:
    rivals(bench, *updates.RIVALS)
    updates.in_memory(bench)
    for name in ("scan by id (numpy)", "IVF per tenant", "HNSW per tenant (hnswlib)"):
        assert all(bench.report.find(updates.WORK, name, change) for change in updates.CHANGES)
        assert bench.report.find(f"{updates.WORK}, built", name, "memory over raw vectors") > 1


def test_a_result_that_the_tenant_may_not_see_is_an_error() -> None:
    corpus = Corpus.of(small(), EDGES)
    mine = corpus.lists[int(corpus.tenants[0, 0])]
    with pytest.raises(ValueError, match="may not see"):
        corpus.recall(CASES[0], 0, [int(np.setdiff1d(corpus.ids, mine)[0])])
    with pytest.raises(ValueError, match="twice"):
        corpus.recall(CASES[0], 0, [int(mine[0])] * 2)


def test_recall_is_of_the_exact_answers() -> None:
    data = small()
    corpus = Corpus.of(data, EDGES)
    truth = data.truth(CASES[0], K).ids.astype(np.int64)
    assert corpus.recall(CASES[0], 3, truth[3]) == 1
    assert corpus.recall(CASES[0], 3, truth[3][:5]) == 0.5
    assert corpus.recall(CASES[0], 3, [-1] * K) == 0


def test_all_claims_are_made_when_nothing_was_measured() -> None:
    found = claims.make(Report("vectordb", environment={}))
    assert len({claim.id for claim in found}) == len(found)
    assert not any(claim.measured for claim in found)
