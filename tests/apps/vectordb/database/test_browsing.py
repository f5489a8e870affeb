"""Facets, orders, groups, examples, payload indexes: against plain Python over what the tenant sees, by columns and by scan."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, Invalid, NotFound, Points, times
from apps.vectordb.database import namespace as namespaces
from apps.vectordb.database.exploring import grouped

RNG = np.random.default_rng(5)
PAYLOADS: list[dict[str, Any]] = [
    {"n": i % 7 if i % 3 else float(i % 7), "tags": [["a"], ["a", "b", "b"], "c", None, True, {"x": 1}, 2.5][i % 7], "of": {"k": f"v{i % 5}"},
     "when": [f"2026-01-{i % 28 + 1:02}T00:00:00Z", i * 1e13, "soon", [3, 3, 1]][i % 4]} for i in range(40)]
VECTORS = RNG.normal(size=(40, 2))
LOW = {"must": [{"key": "n", "range": {"lt": 4}}]}


@pytest.fixture(params=[0, 256], ids=["columns", "scan"])
def shared(papers: Collection, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Points 0 to 24 are bolt's, the others acme's, who shows bolt those from 30 on, and later changes some."""
    monkeypatch.setattr(namespaces, "SCAN_MAX", request.param)
    papers.upsert("acme", Points(range(25, 40), VECTORS[25:], [{}] * 15))
    papers.upsert("bolt", Points(range(25), VECTORS[:25], PAYLOADS[:25]))
    papers.grant("acme", range(30, 40), to="bolt")
    assert papers.facet("bolt", "n")
    papers.upsert("acme", Points(range(25, 40), VECTORS[25:], PAYLOADS[25:]))
    return papers


SEEN = [*range(25), *range(30, 40)]


def values(number: int, key: str) -> list[Any]:
    found: Any = PAYLOADS[number]
    for step in key.split("."):
        found = found.get(step)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("wanted", [None, LOW], ids=["all", "some"])
@pytest.mark.parametrize("key", ["n", "tags", "of.k", "when", "none"])
def test_facets_count_points_that_are_seen(shared: Collection, key: str, wanted: Any) -> None:
    counts: Counter[tuple[int, Any]] = Counter()
    for number in SEEN if key != "none" else ():
        if wanted is None or PAYLOADS[number]["n"] < 4:
            found = {(type(value) is str, int(value) if isinstance(value, float) else value, type(value) is bool) for value in values(number, key)
                     if isinstance(value, bool | int | str) or (isinstance(value, float) and value.is_integer())}
            counts.update((0 if is_bool else 2 if is_text else 1, value) for is_text, value, is_bool in found)
    expected = sorted(((-count, *value) for value, count in counts.items()))
    assert [(-count, value) for value, count in shared.facet("bolt", key, wanted, limit=100)] == [(less, value) for less, _, value in expected]
    assert shared.facet("bolt", key, wanted, limit=2) == shared.facet("bolt", key, wanted, limit=100)[:2]
    assert not shared.facet("cove", key)


@pytest.mark.parametrize("start", [None, 3, "2026-01-09"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", ["n", "when"])
def test_pages_in_the_order_of_a_field(shared: Collection, key: str, descending: bool, start: Any) -> None:
    first = times.parse(start) if isinstance(start, str) else start
    pairs = set()
    for number in SEEN:
        for value in values(number, key):
            by = times.parse(value) if isinstance(value, str) else value
            if by is not None and (first is None or (by <= first if descending else by >= first)):
                pairs.add((-by if descending else by, number < 30, number))  # acme's were written first
    expected = [(-by if descending else by, number) for by, _, number in sorted(pairs)]
    for limit in (3, 100):
        found = shared.scroll_ordered("bolt", key, limit=limit, descending=descending, start_from=start)
        assert [(by, record.id) for by, record in found] == expected[:limit]
    assert not shared.scroll_ordered("cove", key)


def test_examples_are_compared_with_all_that_is_seen(shared: Collection) -> None:
    examples = VECTORS[[1, 2, 30]]
    alike = -np.square(VECTORS[SEEN][:, None] - examples).sum(axis=2)
    found = shared.explore("bolt", "sum_scores", examples, 5, positives=2)
    scores = alike[:, 0] + alike[:, 1] - alike[:, 2]
    assert found.ids == [SEEN[at] for at in np.argsort(-scores)[:5]]
    assert np.allclose(-found.distances, np.sort(scores)[::-1][:5], atol=1e-5)
    assert set(shared.explore("bolt", "context", VECTORS[:2], 40, LOW).ids) == {number for number in SEEN if PAYLOADS[number]["n"] < 4}
    assert not shared.explore("cove", "best_score", VECTORS[:2], 40, positives=2).counts[0]


def test_groups_are_filled_from_what_is_far_away(shared: Collection) -> None:
    by_distance = sorted(SEEN, key=lambda number: np.square(VECTORS[number]).sum())
    expected: dict[str, list[int]] = {}
    for number in by_distance:
        expected.setdefault(PAYLOADS[number]["of"]["k"], []).append(number)
    asked = []

    def search(k: int, wanted: Any) -> Any:
        asked.append(k)
        return shared.search_columns("bolt", [0.0, 0.0], k, wanted, exact=True)

    found = grouped(search, "of.k", 3, 2)
    assert found.values == list(expected)[:3] and found.hits.counts == [2, 2, 2]
    assert found.hits.ids == [number for members in list(expected.values())[:3] for number in members[:2]]
    assert grouped(search, "tags", 9, 1).values == [value for value in dict.fromkeys(
        value for number in by_distance if type(PAYLOADS[number]["tags"]) in (str, list) for value in values(number, "tags"))]


def test_indexes_are_kept_and_read_at_once(tmp_path: Path) -> None:
    with Database.open(tmp_path) as database:
        papers = database.create_collection("papers", dim=2)
        papers.create_tenant("acme")
        papers.upsert("acme", Points(range(40), VECTORS, PAYLOADS))
        papers.create_payload_index("acme", "n", "integer")
        papers.create_payload_index("acme", "of.k")
        papers.create_payload_index("acme", "gone", "geo")
        papers.delete_payload_index("acme", "gone")
    for _ in range(2):  # of a snapshot, then of the log
        with Database.open(tmp_path) as database:
            papers = database.collection("papers")
            assert [tuple(each) for each in papers.payload_indexes("acme")] == [("n", "integer", 40), ("of.k", "keyword", 40)]
            namespace = papers._contents.namespace(1)
            namespace.columns({namespaces.ColumnKey("values", "tags")})
            assert {key.path for key in namespace.warm().columns} == {"tags", "n", "of.k"}, "in one reading"


@pytest.mark.parametrize("call", [
    lambda c: c.facet("acme", "a["), lambda c: c.facet("acme", "n", limit=0), lambda c: c.scroll_ordered("acme", "n", start_from="soon"),
    lambda c: c.scroll_ordered("acme", "n", limit=10**9), lambda c: c.create_payload_index("acme", "n", "vector"),
    lambda c: c.create_payload_index("acme", ""), lambda c: c.explore("acme", "nearest", [[1, 2]], 3),
    lambda c: c.explore("acme", "context", [[1, 2]], 3),
    lambda c: c.explore("acme", "best_score", [[1, 2]], 3, positives=2), lambda c: c.explore("acme", "best_score", np.zeros((300, 2)), 3),
    lambda c: [c.create_payload_index("acme", f"k{n}") for n in range(65)],
    lambda c: grouped(lambda k, wanted: c.search_columns("acme", [0.0, 0.0], k, wanted), "n", 0, 1)])
def test_bad_input(papers: Collection, call: Any) -> None:
    with pytest.raises(Invalid):
        call(papers)
    with pytest.raises(NotFound):
        papers.facet("nobody", "n")
