"""Fused searches against the two formulas, written out."""
from __future__ import annotations

import random
import statistics
from collections import defaultdict
from typing import Literal

import pytest

from apps.vectordb.database import Collection, Database, Hits, Point, Search, Sparse

Name = tuple[str, int]


@pytest.fixture(params=["cosine", "ip", "l2"])
def texts(memory: Database, request: pytest.FixtureRequest) -> Collection:
    collection = memory.create_collection("texts", dim=2, metric=request.param, sparse={"text": {}})
    for name in ("acme", "bolt"):
        collection.create_tenant(name)
    rng = random.Random(0)
    for name in ("acme", "bolt"):
        collection.upsert(name, [
            Point(id, [rng.random(), rng.random()], {"n": id}, {"text": Sparse(rng.sample(range(30), 4), rng.choices(range(1, 9), k=4))})
            for id in range(60)])
    collection.grant("bolt", list(range(0, 60, 2)), to="acme")
    return collection


SPARSE, DENSE = Sparse([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]), [0.3, 0.8]


def names(hits: Hits) -> list[Name]:
    return [(hit.owner, hit.id) for hit in hits]


def alone(texts: Collection) -> list[Hits]:
    return [texts.search("acme", DENSE, 20, exact=True), texts.search_sparse("acme", "text", SPARSE, 15)]


def fused(texts: Collection, by: Literal["rrf", "dbsf"], **how: object) -> list[tuple[Name, float]]:
    hits = texts.fuse("acme", [Search(DENSE, 20, exact=True), Search(SPARSE, 15, "text")], 30, by, **how)
    return list(zip(names(hits), (-hits.distances).tolist(), strict=True))


def same(found: list[tuple[Name, float]], scores: dict[Name, float]) -> None:
    assert dict(found) == pytest.approx({name: scores[name] for name, _ in found})
    assert [score for _, score in found] == pytest.approx(sorted(scores.values(), reverse=True)[:30])


@pytest.mark.parametrize(("k", "weights"), [(2, None), (60, None), (2, [3.0, 1.0]), (7, [1.0, 0.0])])
def test_by_ranks(texts: Collection, k: int, weights: list[float] | None) -> None:
    scores: dict[Name, float] = defaultdict(float)
    for weight, hits in zip(weights or [1.0, 1.0], alone(texts), strict=True):
        for rank, name in enumerate(names(hits), 1):
            scores[name] += 1 / (rank / weight + k - 1) if weight else 0
    same(fused(texts, "rrf", rrf_k=k, weights=weights), scores)


def test_by_scores(texts: Collection) -> None:
    scores: dict[Name, float] = defaultdict(float)
    for hits, squared in zip(alone(texts), (texts.config.metric == "l2", False), strict=True):
        each = [-hit.distance**0.5 if squared else -hit.distance for hit in hits]
        low, high = (statistics.mean(each) + side * 3 * statistics.stdev(each) for side in (-1, 1))
        for name, score in zip(names(hits), each, strict=True):
            scores[name] += (score - low) / (high - low)
    same(fused(texts, "dbsf"), scores)


def test_filters_and_least_scores_are_of_each_search(texts: Collection) -> None:
    def below(n: int) -> dict[str, object]:
        return {"must": [{"key": "n", "range": {"lt": n}}]}

    both = texts.fuse("acme", [Search(DENSE, 20), Search(SPARSE, 15, "text", below(10))], 50, filter=below(30))
    dense, sparse = texts.search("acme", DENSE, 20, below(30), exact=True), texts.search_sparse("acme", "text", SPARSE, 15, below(10))
    assert set(names(both)) == set(names(dense)) | set(names(sparse))
    best = -texts.search_sparse("acme", "text", SPARSE, 15).distances[3]
    few = texts.fuse("acme", [Search(SPARSE, 15, "text", score_min=best)], 50)
    assert len(few) == 4 or -texts.search_sparse("acme", "text", SPARSE, 15).distances[4] == best


def test_lists_that_are_short_or_all_alike(texts: Collection) -> None:
    nothing, one = Search(Sparse([99], [1]), 5, "text"), Search(SPARSE, 1, "text")
    assert not len(texts.fuse("acme", [nothing], 5, "dbsf"))
    for searches in ([one], [one, nothing]):
        assert texts.fuse("acme", searches, 5, "dbsf").distances.tolist() == [-0.5]
        assert texts.fuse("acme", searches, 5, "rrf").distances.tolist() == [-0.5]
    texts.upsert("acme", [Point(id, [1, 1], None, {"text": Sparse([77], [1])}) for id in range(3)])
    assert texts.fuse("acme", [Search(Sparse([77], [1]), 5, "text")], 5, "dbsf").distances.tolist() == [-0.5] * 3
