"""bench.vectordb on a small scale: every system answers, every part measures something, and a run that was cut off goes on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apps.vectordb.data import CASES, Dataset, synthetic
from bench.common.report import Report
from bench.vectordb import __main__ as main
from bench.vectordb import claims, restart, scale, search, service, updates
from bench.vectordb.corpus import Corpus, K
from bench.vectordb.systems.names import HALF, OURS, STORED

EDGES = (100, 200)
RIVALS = (*scale.SCANS, "ivf-bitmap-8", "ivf-per-tenant", *scale.GRAPHS, *scale.ENGINES)
EXACT = ("scan by id (faiss)", "scan by id (numpy)", "scan of a copy (faiss)", "scan of a copy (numpy)")


def small(name: str = "synthetic") -> Dataset:
    return synthetic(n=1500, dim=16, tenants=20, clusters=12, per_vector=4, queries=40)


@pytest.fixture
def bench() -> Iterator[scale.Bench]:
    sets = {"synthetic": scale.Set("synthetic", EDGES, ())}
    few = scale.Scale(sets, passes=2, queries=None, slow_queries=10, build_seconds=60, sweep_seconds=5, batches=1, calls=20, seconds=0.2, restarts=1,
                      batch=100)
    with tempfile.TemporaryDirectory(prefix="vb-") as folder:  # pytest's are too long for a Unix socket
        Path(folder).chmod(0o711)
        yield scale.Bench(Report("vectordb", environment={}), few, Path(folder), lambda text: None, small)


def rivals(bench: scale.Bench, *names: str) -> None:
    bench.scale.sets["synthetic"] = scale.Set("synthetic", EDGES, names)


def test_all_are_built_and_answer_at_equal_recall(bench: scale.Bench) -> None:
    rivals(bench, *RIVALS)
    search.one_set(bench, "synthetic")
    assert not [row for row in bench.report.rows if row.failed]
    for case in CASES:
        found = {row.system: row.spread[0] for row in bench.report.rows if row.work == f"synthetic, {case}" and row.metric == search.RECALL_ROW}
        assert len(found) >= len(RIVALS)
        assert all(found[name] == 1 for name in EXACT)
        assert all(recall >= 0.9 for recall in found.values()), found
        assert all(bench.report.find(f"synthetic, {case}", name, "mean") for name in found)
        assert bench.report.find(f"synthetic, {case}", "IVF per tenant", f"times {OURS}, {search.LARGEST}")
    measured = {claim.id for claim in claims.make(bench.report) if claim.measured}
    assert measured == {"vectordb.recall_min_class.synthetic.correlated", "vectordb.recall_min_class.synthetic.uncorrelated"}


def test_changes_and_memory_are_measured(bench: scale.Bench) -> None:
    rivals(bench, *updates.RIVALS)
    updates.in_memory(bench)
    updates.memory(bench)
    for name in (OURS, "scan by id (numpy)", "IVF per tenant", "HNSW per tenant (hnswlib)"):
        assert all(bench.report.find(updates.WORK, name, change) for change in updates.CHANGES)
        assert bench.report.find(f"{updates.WORK}, built", name, "memory over raw vectors") > 1
    assert bench.report.find(f"{updates.MEMORY}, built", HALF, "memory over raw vectors") > 1


def test_durable_changes_are_measured_in_batches_and_one_at_a_time(bench: scale.Bench) -> None:
    updates.durable(bench)
    assert not [row for row in bench.report.rows if row.failed]
    for work in (updates.DURABLE, updates.SINGLE):
        assert all(bench.report.find(work, STORED, change) for change in updates.CHANGES)


def test_the_service_is_measured_beside_its_library(bench: scale.Bench) -> None:
    service.beside_the_library(bench)
    assert bench.report.find(service.SINGLE, service.MESH, "p50 over the library's") is not None
    assert bench.report.find(service.BATCHES, service.GRPC, service.over_the_library(1))
    calls = bench.report.find(service.POLICIES_ON, service.MESH, "calls")
    assert calls > 0
    assert bench.report.find(service.POLICIES_ON, service.MESH, "judged by quota") == calls


def test_a_small_tenant_is_measured_beside_a_flood(bench: scale.Bench) -> None:
    service.fair(bench)
    for name in (service.CONTROL, *service.FLOODS):
        assert bench.report.find(service.FAIR, service.MESH, service.over_alone(name))
    assert bench.report.find(service.FAIR, service.MESH, f"{service.FLOODED}: vectors")


def test_restarts_are_measured_after_a_clean_end_and_after_a_crash(bench: scale.Bench) -> None:
    bench.scale.sets[restart.SET] = scale.Set("synthetic", None, ())
    restart.one_million(bench)
    for after in ("a clean end", "a crash"):
        opened = bench.report.find(restart.WORK, STORED, f"open after {after}")
        assert bench.report.find(restart.WORK, STORED, f"first answer after {after}") >= opened


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = Report("vectordb", environment={"cpu": "one"}, notes=["a note"])
    done.add("work", "system", "metric", "us", [1.0, 3.0, 2.0])
    done.fail("work", "other", "it cannot")
    cut_off = {**done.to_json(), "rows": [*done.to_json()["rows"], done.to_json()["rows"][0]]}
    kept.write_text(json.dumps({"done": ["memory"], "rows of done": 2, **cut_off}))
    found, names = main.restored(kept)
    assert (found.rows, found.environment, found.notes, names) == (done.rows, done.environment, done.notes, ["memory"])
    assert main.restored(tmp_path / "none")[1] == []


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
