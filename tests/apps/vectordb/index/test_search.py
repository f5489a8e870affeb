"""Searches beside the oracle: every mode, metric and predicate; recall by size of tenant; what must not depend on other tenants."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from apps.vectordb._curator import Index
from tests.apps.vectordb.oracle import Oracle

SIZES = (3, 20, 150, 700, 2500, 6000)  # of tenants 0 ... 5, which overlap
DIM = 48


def clustered(rng: np.random.Generator, n: int) -> np.ndarray:
    centres = rng.standard_normal((60, DIM))
    return (centres[rng.integers(0, 60, n)] + 0.5 * rng.standard_normal((n, DIM))).astype(np.float32)


def filled(metric: str = "l2", dtype: str = "float32", **options) -> tuple[Index, Oracle]:
    rng = np.random.default_rng(5)
    n = 8000
    ids, vectors = np.arange(n, dtype=np.uint64) * 7 + 1, clustered(rng, n)
    owners = np.full(n, 99, np.uint32)
    grants = [rng.choice(n, size, replace=False) for size in SIZES]
    grant_ids = ids[np.concatenate(grants)]
    grant_tenants = np.repeat(np.arange(len(SIZES), dtype=np.uint32), SIZES)
    index, oracle = Index(DIM, metric=metric, dtype=dtype, **options), Oracle(DIM, metric=metric, dtype=dtype)
    for each in (index, oracle):
        each.build(ids, vectors, owners, grant_ids, grant_tenants)
    return index, oracle


@pytest.fixture(scope="module")
def pair() -> tuple[Index, Oracle]:
    return filled()


QUERIES = clustered(np.random.default_rng(5), 8060)[-60:]  # of the same clusters, and not in the index


def seen(oracle: Oracle, tenant: int) -> set[int]:
    return set(oracle.ids(tenant, limit=100_000).tolist())


def nearest(oracle: Oracle, query: np.ndarray, k: int, among: set[int]) -> list[int]:
    ids = np.array(sorted(among), np.uint64)
    return ids[np.argsort(oracle.distances(query, ids), kind="stable")[:k]].tolist()


def recall(oracle: Oracle, query: np.ndarray, found: np.ndarray, among: set[int]) -> float:
    wanted = nearest(oracle, query, len(found), among)
    return len(set(found.tolist()) & set(wanted)) / max(1, len(wanted))


@pytest.mark.parametrize(("metric", "dtype"), list(itertools.product(("l2", "ip", "cosine"), ("float32", "float16"))))
def test_every_size_finds_its_nearest_by_default(metric, dtype):
    index, oracle = filled(metric, dtype)
    for tenant, size in enumerate(SIZES):
        among = seen(oracle, tenant)
        shares = []
        for query in QUERIES:
            ids, distances = index.search(query, 10, tenant)
            assert len(ids) == min(10, size) and set(ids.tolist()) <= among and (np.diff(distances) >= 0).all()
            np.testing.assert_allclose(distances, oracle.distances(query, ids), rtol=2e-3, atol=2e-3)
            shares.append(recall(oracle, query, ids, among))
        assert np.mean(shares) >= 0.95, f"tenant of {size}"


def test_a_budget_that_covers_the_tenant_and_exact_both_equal_the_oracle(pair):
    index, oracle = pair
    for tenant, query in itertools.product(range(len(SIZES)), QUERIES[:10]):
        wanted = nearest(oracle, query, 25, seen(oracle, tenant))
        assert index.search(query, 25, tenant, exact=True)[0].tolist() == wanted
        assert index.search(query, 25, tenant, budget=max(SIZES))[0].tolist() == wanted


def test_a_larger_budget_finds_more_and_a_small_one_still_k(pair):
    index, oracle = pair
    among = seen(oracle, 5)
    shares = []
    for budget in (1, 200, 1000, 6000):
        found = [index.search(query, 10, 5, budget=budget)[0] for query in QUERIES]
        assert all(len(ids) == 10 for ids in found)
        shares.append(np.mean([recall(oracle, query, ids, among) for query, ids in zip(QUERIES, found, strict=True)]))
    assert shares[0] < shares[1] <= shares[2] <= shares[3] == 1


def test_patience_ends_a_search_early_or_late(pair):
    index, oracle = pair
    among = seen(oracle, 5)
    mean = [
        np.mean([recall(oracle, query, index.search(query, 10, 5, patience=patience)[0], among) for query in QUERIES]) for patience in (1, 8, 10_000)
    ]
    assert mean[0] <= mean[1] <= mean[2]
    assert mean[2] >= 0.99


def test_k_beyond_what_is_visible_gives_all_of_it_and_unknown_tenants_nothing(pair):
    index, oracle = pair
    ids, _ = index.search(QUERIES[0], 500, 1)
    assert sorted(ids.tolist()) == sorted(seen(oracle, 1))
    assert len(index.search(QUERIES[0], 10, 12345)[0]) == 0
    assert len(index.search(QUERIES[0], 10, [12345, 0])[0]) == SIZES[0]


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"budget": 100}, {"patience": 2}])
def test_several_tenants_are_searched_as_one_and_results_come_once(pair, options):
    index, oracle = pair
    for tenants in ([2, 3], [0, 1, 4], [5, 4, 5], [2, 99]):
        among = set().union(*(seen(oracle, tenant) for tenant in tenants))
        shares = []
        for query in QUERIES[:20]:
            ids, _ = index.search(query, 10, tenants, **options)
            assert len(ids) == len(set(ids.tolist())) == 10 and set(ids.tolist()) <= among
            shares.append(recall(oracle, query, ids, among))
        if not options or "exact" in options:
            assert np.mean(shares) >= (0.94 if not options else 1)


def test_a_batch_answers_as_single_searches_do(pair):
    index, _ = pair
    tenants = np.arange(60, dtype=np.uint32) % 7  # 6 is unknown
    ids, distances, counts = index.search_many(QUERIES, 8, tenants)
    assert ids.shape == distances.shape == (60, 8)
    for row, (query, tenant) in enumerate(zip(QUERIES, tenants, strict=True)):
        one_ids, one_distances = index.search(query, 8, int(tenant))
        assert counts[row] == len(one_ids)
        np.testing.assert_array_equal(ids[row, : counts[row]], one_ids)
        np.testing.assert_array_equal(distances[row, : counts[row]], one_distances)
    assert (index.search_many(QUERIES, 8, 3)[2] == 8).all()


def test_a_batch_on_several_threads_answers_the_same_while_others_ask(pair):
    index, _ = pair
    alone = index.search_many(QUERIES, 8, 3)
    with ThreadPoolExecutor(4) as others:
        for found in others.map(lambda _: index.search_many(QUERIES, 8, 3, threads=4), range(40)):
            for mine, yours in zip(alone, found, strict=True):
                np.testing.assert_array_equal(mine, yours)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        index.search_many(QUERIES, 8, 3, threads=0)
    with pytest.raises(ValueError, match="NaN"):
        index.search_many(np.full_like(QUERIES, np.nan), 8, 3, threads=2)


def test_equal_indexes_answer_equally(pair):
    other, _ = filled()
    for tenant in range(len(SIZES)):
        for query in QUERIES[:10]:
            for mine, yours in zip(pair[0].search(query, 10, tenant), other.search(query, 10, tenant), strict=True):
                np.testing.assert_array_equal(mine, yours)


def test_predicates_say_what_sets_say(pair):
    index, oracle = pair
    sets = {tenant: seen(oracle, tenant) for tenant in range(len(SIZES))}
    everything = seen(oracle, 99)
    some_ids = sorted(everything)[::3]
    cases = [
        (("and", 4, 5), sets[4] & sets[5]),
        (("or", 1, 2, 3), sets[1] | sets[2] | sets[3]),
        (("not", 5), everything - sets[5]),
        (("and", ("or", 2, 3), ("not", 4)), (sets[2] | sets[3]) - sets[4]),
        (("not", ("or", ("not", 3), 5)), sets[3] - sets[5]),
        (3, sets[3]),
        (("and", 4, ("not", 4)), set()),
        (np.array([*some_ids, 10**9, *some_ids[:5]], np.uint64), set(some_ids)),
        (np.array([], np.uint64), set()),
    ]
    for what, named in cases:
        where = index.predicate(what)
        assert len(where) == len(named)
        for tenants in (99, 5, [2, 4]):
            among = named & set().union(*(seen(oracle, tenant) for tenant in np.atleast_1d(tenants)))
            for query in QUERIES[:4]:
                found = index.search(query, 10, tenants, where=where, exact=True)[0].tolist()
                assert found == nearest(oracle, query, 10, among)
            shares = []
            for query in QUERIES[:20]:
                ids, _ = index.search(query, 10, tenants, where=where)
                assert len(ids) == min(10, len(among)) and set(ids.tolist()) <= among
                shares.append(recall(oracle, query, ids, among) if among else 1)
            assert np.mean(shares) >= 0.9


def test_a_predicate_follows_changes():
    index, oracle = filled()
    where = index.predicate(("and", 2, ("not", 3)))
    by_id = index.predicate(np.array(sorted(seen(oracle, 2)), np.uint64))

    def agree() -> None:
        for predicate, named in ((where, seen(oracle, 2) - seen(oracle, 3)), (by_id, start & set(oracle.rows))):
            assert len(predicate) == len(named)
            found = index.search(QUERIES[0], 1000, 99, where=predicate, exact=True)[0]
            assert set(found.tolist()) == named

    start = seen(oracle, 2)
    agree()
    only = sorted(seen(oracle, 2) - seen(oracle, 3))
    for change in (
        lambda each: each.grant([only[0]], [3]),
        lambda each: each.revoke([only[1]], [2]),
        lambda each: each.delete([only[2]]),
        lambda each: each.update([only[3]], QUERIES[1]),
        lambda each: each.drop_tenant(3),
    ):
        change(index)
        change(oracle)
        agree()


def test_what_others_hold_changes_nothing():
    """The same tenant in two indexes with the same tree, beside few and beside many vectors of others near its queries."""
    rng = np.random.default_rng(11)
    vectors, queries = clustered(rng, 2000), QUERIES
    alone, crowded = Index(DIM, leaf_max=65536), Index(DIM, leaf_max=65536)
    ids = np.arange(2000, dtype=np.uint64)
    alone.insert(ids, vectors, np.full(2000, 1, np.uint32))
    crowded.insert(ids, vectors, np.full(2000, 1, np.uint32))
    near = np.repeat(queries, 50, 0) + 0.01 * rng.standard_normal((3000, DIM)).astype(np.float32)
    crowded.insert(ids[-1] + 1 + np.arange(3000, dtype=np.uint64), near, np.full(3000, 2, np.uint32))
    for query in queries:
        for mine, yours in zip(alone.search(query, 10, 1), crowded.search(query, 10, 1), strict=True):
            np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k": 0}, "k must be"),
        ({"k": 65537}, "k must be"),
        ({"budget": 0}, "budget"),
        ({"patience": 0}, "patience"),
        ({"recall": 0.0}, "recall"),
        ({"recall": 1.5}, "recall"),
        ({"recall": float("nan")}, "recall"),
        ({"vector": np.ones(DIM + 1, np.float32)}, "dimensions"),
        ({"vector": np.full(DIM, np.nan, np.float32)}, "NaN"),
        ({"vector": np.ones((2, DIM), np.float32)}, "length"),
        ({"tenants": [[1]]}, "tenants"),
        ({"tenants": [-1]}, "negative"),
        ({"tenants": 1 << 32}, "large"),
    ],
)
def test_bad_arguments_are_refused(pair, options, text):
    with pytest.raises(ValueError, match=text):
        pair[0].search(**({"vector": QUERIES[0], "k": 10, "tenants": 1} | options))


def test_a_predicate_of_another_index_is_refused(pair):
    with pytest.raises(ValueError, match="another index"):
        pair[0].search(QUERIES[0], 10, 1, where=Index(DIM).predicate(1))


deep = 1
for _ in range(40):
    deep = ("not", deep)


@pytest.mark.parametrize(
    "what", [(), ("and",), ("xor", 1, 2), ("not", 1, 2), ("and", "x"), ("or", 1, -2), (1, 2), ("and", [1, 2]), deep, ("or", *range(2000))]
)
def test_a_hostile_expression_is_refused(pair, what):
    with pytest.raises(ValueError, match=r"expression|tenant"):
        pair[0].predicate(what)


def test_an_index_that_grew_by_inserts_learns_too():
    rng = np.random.default_rng(3)
    index, oracle = Index(DIM), Oracle(DIM)
    vectors = clustered(np.random.default_rng(5), 8060)[:6000]
    for first in range(0, 6000, 500):
        ids = np.arange(first, first + 500, dtype=np.uint64)
        for each in (index, oracle):
            each.insert(ids, vectors[first : first + 500], rng.integers(0, 1, 500).astype(np.uint32))
    among = seen(oracle, 0)
    assert np.mean([recall(oracle, query, index.search(query, 10, 0)[0], among) for query in QUERIES]) >= 0.95
