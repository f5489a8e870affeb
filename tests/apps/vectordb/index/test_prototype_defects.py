"""Each known defect of the algorithm's prototypes, as something that this index does right."""

import numpy as np
import pytest

from apps.vectordb._curator import Index
from tests.apps.vectordb.oracle import Oracle

SMALL = {"shortlist_max": 8, "leaf_max": 16, "branching": 4}


def shared_set(seed: int, n: int = 1500, tenants: int = 30, dim: int = 8):
    rng = np.random.default_rng(seed)
    index, oracle = Index(dim, **SMALL), Oracle(dim)
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    owners = rng.integers(0, tenants, n)
    granted, to = rng.integers(0, n, 4 * n), rng.integers(0, tenants, 4 * n)
    for each in (index, oracle):
        each.build(np.arange(n), vectors, owners, granted, to)
    return rng, index, oracle


def same_view(index: Index, oracle: Oracle, tenant: int) -> None:
    np.testing.assert_array_equal(index.ids(tenant, limit=10**6), oracle.ids(tenant, limit=10**6))


def test_1_deletions_lose_no_results():
    rng, index, oracle = shared_set(1)
    for batch in np.array_split(rng.permutation(1500), 30)[:-1]:
        for each in (index, oracle):
            each.delete(batch)
        index.check()
        for tenant in range(30):
            visible = oracle.count(tenant)
            found, _ = index.search(rng.standard_normal(8), 10, tenant)
            assert len(found) == min(10, visible)
            same_view(index, oracle, tenant)


def test_2_a_leaf_with_more_than_a_shortlist_of_a_tenant_is_searched_whole():
    index, oracle = Index(4, **SMALL), Oracle(4)
    vectors = np.ones((300, 4), np.float32)  # cannot be told apart: one leaf, whatever its limit
    for each in (index, oracle):
        each.insert(np.arange(300), vectors, np.arange(300) % 2)
    index.check()
    for tenant in (0, 1):
        ids, distances = index.search(np.zeros(4), 300, tenant, exact=True)
        assert sorted(ids) == list(range(tenant, 300, 2))
        assert (distances == 4).all()


def test_3_an_owner_keeps_what_it_owns():
    _, index, oracle = shared_set(3, n=50)
    for id in range(50):
        with pytest.raises(ValueError, match="owns"):
            index.revoke([id], [oracle.owner(id)])
    assert [index.owner(id) for id in range(50)] == [oracle.owner(id) for id in range(50)]
    index.check()


def test_3_a_refused_batch_changes_nothing():
    _, index, oracle = shared_set(3, n=50)
    visitor = next(t for t in index.tenants(7) if t != index.owner(7))
    with pytest.raises(ValueError, match="owns"):
        index.revoke([7, 8], [visitor, index.owner(8)])
    assert visitor in index.tenants(7)


def test_4_granting_twice_is_granting_once():
    _, index, oracle = shared_set(4, n=200)
    before = index.count(99)
    assert index.grant([5, 5, 6, 5], [99, 99, 99, 99]) == 2
    assert index.grant([5], [99]) == 0
    assert index.grant([5], [index.owner(5)]) == 0
    assert index.count(99) == before + 2
    ids, _ = index.search(np.zeros(8), 10, 99)
    assert sorted(ids) == [5, 6]
    assert index.revoke([5, 5], [99, 99]) == 1
    assert index.revoke([5], [99]) == 0
    index.check()


def test_4_cleaning_goes_on_after_a_tenant_without_a_hit():
    index = Index(2)
    index.insert([1, 2], np.eye(2), [10, 10])
    index.grant([1, 1, 1], [3, 11, 12])
    index.delete(1)
    for tenant in (3, 11, 12):
        assert index.count(tenant) == 0 and len(index.search(np.ones(2), 5, tenant)[0]) == 0
    assert index.search(np.ones(2), 5, 10)[0].tolist() == [2]


def test_5_streaming_into_one_place_overflows_into_no_neighbour():
    rng = np.random.default_rng(5)
    index, oracle = Index(3, **SMALL), Oracle(3)
    ids = iter(range(10**6))
    for round in range(25):
        batch = np.array([next(ids) for _ in range(100)])
        vectors = np.zeros((100, 3), np.float32) if round % 2 else rng.standard_normal((100, 3)).astype(np.float32) * 1e-3
        for each in (index, oracle):
            each.insert(batch, vectors, np.full(100, round % 3))
            each.delete(batch[::3])
    index.check()
    for tenant in range(3):
        same_view(index, oracle, tenant)
    held = sorted(oracle.rows)
    np.testing.assert_array_equal(index.vectors(held), oracle.vectors(held))  # no slot was used twice


def test_6_revoking_everything_leaves_nothing_to_read():
    _, index, oracle = shared_set(6, n=400)
    pairs = [(id, who) for id in range(400) for who in oracle.access[id][1:]]
    index.revoke(*map(np.array, zip(*pairs, strict=True)))
    index.check()
    index.delete(np.arange(400))
    index.check()
    for tenant in range(30):
        assert index.tenant_tree(tenant) == [] and len(index.search(np.zeros(8), 3, tenant)[0]) == 0
    stats = index.stats()
    assert (stats["vectors"], stats["grants"], stats["tenants"], stats["shortlists"], stats["nodes"]) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_7_any_metric_and_type_outlives_the_process(metric, dtype, tmp_path):
    rng = np.random.default_rng(7)
    index, oracle = Index(5, metric=metric, dtype=dtype, **SMALL), Oracle(5, metric=metric, dtype=dtype)
    vectors = rng.standard_normal((300, 5)).astype(np.float32)
    for each in (index, oracle):
        each.insert(np.arange(300), vectors, np.arange(300) % 5)
    index.cut().save(tmp_path / "image")
    again = Index.load(tmp_path / "image")
    again.check()
    query = rng.standard_normal(5).astype(np.float32)
    for tenant in range(5):
        _, wanted = oracle.search(query, 7, tenant)
        np.testing.assert_allclose(again.search(query, 7, tenant, exact=True)[1], wanted, rtol=2e-3, atol=2e-3)
    assert (again.metric, again.dtype, again.dim) == (metric, dtype, 5)


def test_7_there_is_no_limit_to_tenants_set_beforehand():
    index = Index(2)
    index.insert(np.arange(2000), np.random.default_rng(0).standard_normal((2000, 2)), np.arange(2000) * 2_000_003 % 2**32)
    index.grant(np.zeros(1000, np.uint64), np.arange(1000) + 2**31)
    index.check()
    assert len(index.tenants(0)) == 1001
    assert index.stats()["tenants"] >= 2000


def test_7_the_tree_follows_data_that_moves_away():
    rng = np.random.default_rng(8)
    index = Index(8, leaf_max=32, shortlist_max=32)
    index.build(np.arange(500), rng.standard_normal((500, 8)), np.zeros(500, int))
    moved = rng.standard_normal((2500, 8)) + 20
    for start in range(0, 2500, 250):  # five times the training set, elsewhere
        index.insert(np.arange(start, start + 250) + 500, moved[start:start + 250], np.zeros(250, int))
    assert index.stats()["leaf_splits"] > 2500 / 32 / 2
    index.check()
    while index.maintain(10_000):
        pass
    index.check()
    assert index.stats()["reclusters"] > 0
    leaves = index.stats()["leaves"]
    assert 3000 / 32 <= leaves <= 3000 / 8
    index.delete(np.arange(0, 2950))
    index.check()
    assert index.stats()["leaves"] < leaves / 4


def test_8_settings_reach_the_index():
    rng = np.random.default_rng(9)
    vectors = rng.standard_normal((1000, 4)).astype(np.float32)
    shapes = []
    for shortlist_max in (4, 64, 2000):
        index = Index(4, shortlist_max=shortlist_max)
        index.build(np.arange(1000), vectors, np.zeros(1000, int))
        shapes.append(index.stats()["shortlists"])
    assert shapes[0] >= shapes[1] > shapes[2] == 1
