"""The index beside the oracle: every operation at random, all answers compared after each."""

import numpy as np
import pytest

from apps.vectordb._curator import Index
from tests.apps.vectordb.oracle import Oracle


def agree(index: Index, oracle: Oracle, tenants, rng) -> None:
    index.check()
    assert len(index) == len(oracle)
    for tenant in tenants:
        assert index.count(tenant) == oracle.count(tenant)
        ids = index.ids(tenant, limit=100_000)
        np.testing.assert_array_equal(ids, oracle.ids(tenant, limit=100_000))
    tenant = int(rng.choice(tenants))
    query = rng.standard_normal(oracle.dim).astype(np.float32)
    ids, distances = index.search(query, 5, tenant, exact=True)
    _, wanted = oracle.search(query, 5, tenant)
    np.testing.assert_allclose(distances, wanted, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(oracle.distances(query, ids), distances, rtol=2e-3, atol=2e-3)


class Driver:
    """Does one thing at random to both."""

    def __init__(self, index: Index, oracle: Oracle, rng: np.random.Generator, tenants: int):
        self.index, self.oracle, self.rng, self.tenants = index, oracle, rng, tenants
        self.next_id = 1
        self.centre = np.zeros(oracle.dim)

    def both(self, name: str, *arguments) -> None:
        assert getattr(self.index, name)(*arguments) == getattr(self.oracle, name)(*arguments)

    def held(self, most: int) -> np.ndarray:
        ids = list(self.oracle.rows)
        return self.rng.choice(ids, min(len(ids), int(self.rng.integers(1, most))), replace=False) if ids else np.array([], np.uint64)

    def vectors(self, n: int) -> np.ndarray:
        if self.rng.random() < 0.05:
            self.centre = self.rng.standard_normal(self.oracle.dim) * 10  # drift
        vectors = self.rng.standard_normal((n, self.oracle.dim)) + self.centre
        if self.rng.random() < 0.2:
            vectors[:] = vectors[:1]
        return vectors.astype(np.float32)

    def someone(self, n: int) -> np.ndarray:
        return self.rng.integers(0, self.tenants, n)

    def insert(self, most: int = 40) -> None:
        n = int(self.rng.integers(1, most))
        ids = np.arange(self.next_id, self.next_id + n, dtype=np.uint64)
        self.rng.shuffle(ids)
        self.next_id += n
        self.both("insert", ids, self.vectors(n), self.someone(n))

    def update(self) -> None:
        ids = self.held(10)
        self.both("update", ids, self.vectors(len(ids)))

    def delete(self) -> None:
        self.both("delete", self.held(self.rng.choice([5, 60])))

    def grant(self) -> None:
        ids = np.repeat(self.held(60), 3)
        self.both("grant", ids, self.someone(len(ids)))

    def revoke(self) -> None:
        pairs = [(id, who) for id in self.held(60) for who in self.oracle.access[int(id)][1:] + [self.tenants + 1] if who != self.oracle.owner(id)]
        if pairs:
            self.both("revoke", *map(np.array, zip(*pairs, strict=True)))

    def drop(self) -> None:
        self.both("drop_tenant", int(self.rng.integers(self.tenants)))

    def rest(self) -> None:
        tenant = int(self.rng.integers(self.tenants))
        blob = self.index.unload(tenant)
        victims = [id for id in self.held(10) if self.oracle.owner(id) != tenant]
        if victims:
            self.both("delete", victims)
        assert self.index.count(tenant) == self.oracle.count(tenant)
        self.index.reload(tenant, blob)

    def maintain(self) -> None:
        while self.index.maintain(100_000):
            pass


@pytest.mark.parametrize("metric,dtype", [("l2", "float32"), ("cosine", "float16"), ("ip", "float32")])
@pytest.mark.parametrize("seed", range(3))
def test_any_operations_in_any_order(metric, dtype, seed):
    rng = np.random.default_rng(seed)
    settings = {"shortlist_max": 8, "leaf_max": 16, "branching": 4} if seed else {}
    index, oracle = Index(6, metric=metric, dtype=dtype, **settings), Oracle(6, metric=metric, dtype=dtype)
    driver = Driver(index, oracle, rng, tenants=7)
    steps = [driver.insert] * 6 + [driver.update, driver.delete, driver.grant, driver.grant, driver.revoke, driver.drop, driver.rest, driver.maintain]
    odds = np.array([1.0] * (len(steps) - 3) + [0.15, 0.5, 0.3])
    for _ in range(120):
        steps[rng.choice(len(steps), p=odds / odds.sum())]()
        agree(index, oracle, range(9), rng)
    everything = list(oracle.rows)
    rng.shuffle(everything)
    for part in np.array_split(np.array(everything, np.uint64), 5):
        driver.both("delete", part)
        agree(index, oracle, range(9), rng)
    driver.insert()
    agree(index, oracle, range(9), rng)
