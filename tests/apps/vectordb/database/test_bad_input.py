"""What is refused, and that a refusal changes nothing."""
from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, Invalid, NotFound, Point, Points, Quota, QuotaExceeded

GOOD = [0.0, 1.0]


@pytest.mark.parametrize("vector", [[float("nan"), 1], [float("inf"), 1], [1e30, 1], [-2**63, 0],
                                    [1], [1, 2, 3], ["a", "b"], [1j, 0], [[1, 2]], "ab", None, [True]],
                         ids=str)
def test_vectors_that_are_none(papers: Collection, vector: Any) -> None:
    with pytest.raises(Invalid):
        papers.upsert("acme", [Point(1, GOOD), Point(2, vector)])
    with pytest.raises(Invalid):
        papers.search("acme", [vector], 1)
    assert papers.count("acme") == 0


@pytest.mark.parametrize(("metric", "dtype", "vector"), [("cosine", "float32", [0, 0]), ("cosine", "float16", [0, 0]), ("l2", "float16", [1e5, 0])])
def test_vectors_that_the_collection_cannot_hold(memory: Database, metric: str, dtype: str, vector: list[float]) -> None:
    collection = memory.create_collection("other", dim=2, metric=metric, dtype=dtype)
    collection.create_tenant("acme")
    for ask in (lambda: collection.upsert("acme", [Point(1, vector)]), lambda: collection.search("acme", vector, 1),
                lambda: collection.search("acme", [vector], 1)):
        with pytest.raises(Invalid):
            ask()


@pytest.mark.parametrize("point_id", [-1, 2**64, 1.0, True, None, "7", "not a uuid", str(uuid.UUID(int=0)), b"x", ()], ids=str)
def test_ids_that_are_none(papers: Collection, point_id: Any) -> None:
    asks = [lambda: papers.upsert("acme", [Point(point_id, GOOD)]), lambda: papers.get("acme", [point_id]), lambda: papers.delete("acme", [point_id])]
    for ask in asks:
        with pytest.raises(Invalid):
            ask()


@pytest.mark.parametrize("payload", [[1], "text", 7, {"a": float("nan")}, {"a": {1, 2}}, b"[1]", b"{", b'{"a": NaN}', b"\xff", {"a": "x" * 70_000}],
                         ids=lambda payload: str(payload)[:20])
def test_payloads_that_are_none(papers: Collection, payload: Any) -> None:
    with pytest.raises(Invalid):
        papers.upsert("acme", [Point(1, GOOD, payload)])


def test_a_payload_nested_too_deep(papers: Collection) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for payload in (deep, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}):
        with pytest.raises(Invalid):
            papers.upsert("acme", [Point(1, GOOD, payload)])
    while deep:  # else it is taken apart by recursion
        deep = deep.popitem()[1]


@pytest.mark.parametrize("k", [0, -1, 10_001, 1.5, True, None])
def test_k_out_of_range(papers: Collection, k: Any) -> None:
    with pytest.raises(Invalid):
        papers.search("acme", GOOD, k)


@pytest.mark.parametrize("setting", [{"recall": value} for value in (0, -1, 1.01, 1e-60, float("nan"), "all")]
                         + [{name: value} for name in ("budget", "patience") for value in (0, -1, 2**32, 1.5, True, "all")], ids=str)
def test_settings_of_a_search_out_of_range(papers: Collection, setting: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="from 1 to|above 0"):
        papers.search("acme", GOOD, 1, **setting)


def test_k_beyond_what_there_is(papers: Collection) -> None:
    papers.upsert("acme", [Point(i, GOOD) for i in range(3)])
    assert len(papers.search("acme", GOOD, 10_000)) == 3


@pytest.mark.parametrize("points", [[Point(1, GOOD), Point(1, GOOD)], Points([1, 2], [GOOD]), Points([1], [GOOD], [None, None]), [(1,)], [7],
                                    Points(range(10_001), np.zeros((10_001, 2)))], ids=lambda points: str(points)[:30])
def test_batches_that_are_none(papers: Collection, points: Any) -> None:
    with pytest.raises(Invalid):
        papers.upsert("acme", points)
    assert papers.count("acme") == 0


def test_unknown_tenants(papers: Collection) -> None:
    papers.upsert("acme", [Point(1, GOOD)])
    asks = [lambda: papers.search("nobody", GOOD, 1), lambda: papers.count("nobody"), lambda: papers.grant("acme", [1], to="nobody"),
            lambda: papers.revoke("acme", [1], from_="nobody"), lambda: papers.drop_tenant("nobody"), lambda: papers.usage("nobody"),
            lambda: papers.add_member("nobody", "acme"), lambda: papers.set_quota("nobody", Quota())]
    for ask in asks:
        with pytest.raises(NotFound):
            ask()


@pytest.mark.parametrize("name", ["", " x", "a\nb", "ä", "x" * 129, None, 7, "../x"])
def test_names_that_are_none(papers: Collection, memory: Database, name: Any) -> None:
    for make in (papers.create_tenant, papers.create_role, lambda name: memory.create_collection(name, dim=2)):
        with pytest.raises(Invalid):
            make(name)


@pytest.mark.parametrize("settings", [{"dim": 0}, {"dim": 8193}, {"dim": 2, "metric": "l7"},
                                      {"dim": 2, "dtype": "int8"}, {"dim": 2, "recall": 0}, {"dim": 2, "x": 1}])
def test_collections_that_are_none(memory: Database, settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        memory.create_collection("other", **settings)
    assert memory.collections() == []


def test_a_quota_refuses_the_whole_batch(papers: Collection) -> None:
    papers.set_quota("acme", Quota(vectors=3))
    papers.upsert("acme", [Point(1, GOOD), Point(2, GOOD)])
    with pytest.raises(QuotaExceeded, match="3 points"):
        papers.upsert("acme", [Point(2, GOOD), Point(3, GOOD), Point(4, GOOD)])
    assert papers.count("acme") == 2
    papers.upsert("acme", [Point(1, GOOD), Point(2, GOOD), Point(3, GOOD)])
    papers.delete("acme", [1])
    papers.upsert("acme", [Point(4, GOOD)])


def test_payloads_that_are_too_much_for_one_call(papers: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.vectordb.database.writes.REWRITE_BYTES_MAX", 100)
    papers.upsert("acme", [Point(n, GOOD, {"a": n}) for n in range(8)])
    for replace in (False, True):
        with pytest.raises(Invalid, match="fewer points"):
            papers.set_payload("acme", {}, {"b": "x" * 20}, replace=replace)
    assert papers.count("acme", {"must": [{"key": "b", "match": {"prefix": ""}}]}) == 0
    assert papers.set_payload("acme", [1, 2], {"b": "x" * 20}) == 2


def test_answers_that_are_too_much(papers: Collection) -> None:
    papers.upsert("acme", [Point(n, GOOD, {"a": "x" * 65_000}) for n in range(40)])
    assert len(papers.search("acme", [GOOD] * 25, 40)) == 25
    assert len(papers.search("acme", [GOOD] * 26, 40, with_payload=False)) == 26
    with pytest.raises(Invalid, match="fewer points"):
        papers.search("acme", [GOOD] * 26, 40)
    assert len(papers.get("acme", [1] * 1032)) == 1032
    with pytest.raises(Invalid, match="fewer points"):
        papers.get("acme", [1] * 1033)
    assert len(papers.get("acme", [1] * 1033, with_payload=False, with_vector=True)) == 1033


def test_a_quota_of_bytes_counts_vectors_and_payloads(papers: Collection) -> None:
    papers.set_quota("acme", Quota(bytes=8 + 9 + 1))
    papers.upsert("acme", [Point(1, GOOD, {"a": "x"})])  # 8 and 9
    with pytest.raises(QuotaExceeded):
        papers.set_payload("acme", [1], {"b": 1})
    papers.set_payload("acme", [1], {"a": "xy"})
    papers.set_quota("acme", Quota(bytes=1))
    papers.set_payload("acme", [1], {"a": ""})  # a tenant over its quota may shrink


def test_a_rate_limit_tells_when_to_come_back(papers: Collection, clock: Any) -> None:
    papers.set_quota("acme", Quota(queries_per_s=2, burst=3))
    papers.search("acme", [GOOD] * 3, 1)
    with pytest.raises(QuotaExceeded) as caught:
        papers.count("acme")
    assert caught.value.retry_after_s == pytest.approx(0.5)
    assert papers.usage("acme").refused == 1
    papers.count("bolt")
    clock.now += 0.5
    papers.count("acme")
    clock.now -= 1e6  # a clock that runs backwards locks nobody out for long
    with pytest.raises(QuotaExceeded):
        papers.count("acme")
    clock.now += 0.5
    papers.count("acme")


def test_revoke_of_what_was_not_granted_is_none(papers: Collection) -> None:
    papers.upsert("acme", [Point(1, GOOD)])
    papers.create_role("readers")
    assert papers.revoke("acme", [1], from_=["bolt", "readers", "acme"]) == 0
    with pytest.raises(NotFound):
        papers.revoke("acme", [2], from_="bolt")
    assert papers.count("acme") == 1


@pytest.mark.parametrize("real", [False, True])
def test_everything_deleted_then_searched(memory: Database, real: bool) -> None:
    with Database.open(None, background=False) if real else memory as db:
        collection = db.create_collection("other", dim=2)
        for name in ("acme", "bolt"):
            collection.create_tenant(name)
        for again in range(3):
            collection.upsert("acme", Points(range(3000), np.random.default_rng(again).random((3000, 2))))
            collection.grant("acme", range(100), to="bolt")
            assert len(collection.search("bolt", GOOD, 200)) == 100
            collection.delete("acme", range(3000))
            for name in ("acme", "bolt"):
                assert len(collection.search(name, GOOD, 10)) == len(collection.search(name, GOOD, 10, exact=True)) == 0
                assert collection.count(name) == 0 and collection.scroll(name).records == []
            db.housekeep()
        collection.check()
