"""A long random walk on the real index, opened again now and then, beside a database in memory on the oracle."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, DatabaseError, Points
from tests.apps.vectordb.database.plain_index import PlainIndex
from tests.apps.vectordb.database.story import dump

pytest.importorskip("apps.vectordb._curator")

TENANTS, ROLES, IDS, DIM = ("a", "b", "c", "d"), ("r", "s"), 60, 4


class Walk:
    """Makes the same step in all the collections that it is given."""

    def __init__(self, seed: int) -> None:
        self._dice, self._rng = random.Random(seed), np.random.default_rng(seed)

    def step(self, collections: list[Collection]) -> None:
        kind = self._dice.choices(["upsert", "delete", "grant", "revoke", "payload", "by_filter", "member", "tenant"],
                                  [6, 2, 5, 3, 2, 2, 1, 0.5])[0]
        action = getattr(self, f"_{kind}")()
        results = [self._outcome(action, collection) for collection in collections]
        assert all(result == results[0] for result in results), (kind, results)

    @staticmethod
    def _outcome(action: Any, collection: Collection) -> Any:
        try:
            return action(collection)
        except DatabaseError as error:
            return type(error), str(error)

    def _ids(self) -> list[int]:
        return self._dice.sample(range(IDS), self._dice.randint(1, 8))

    def _upsert(self) -> Any:
        tenant, ids = self._dice.choice(TENANTS), self._ids()
        vectors, payloads = self._rng.standard_normal((len(ids), DIM)), [{"n": self._dice.randint(0, 3)} for _ in ids]
        return lambda c: c.upsert(tenant, Points(ids, vectors, payloads))

    def _delete(self) -> Any:
        tenant, ids = self._dice.choice(TENANTS), self._ids()
        return lambda c: c.delete(tenant, ids)

    def _grant(self) -> Any:
        tenant, to, ids = self._dice.choice(TENANTS), self._dice.choice(TENANTS + ROLES), self._ids()[:2]
        return lambda c: c.grant(tenant, ids, to=to)

    def _revoke(self) -> Any:
        tenant, to = self._dice.choice(TENANTS), self._dice.choice(TENANTS + ROLES)
        wanted = {"must": [{"key": "n", "match": {"value": self._dice.randint(0, 3)}}]}
        return lambda c: c.revoke(tenant, wanted, from_=to)

    def _payload(self) -> Any:
        tenant, ids, value = self._dice.choice(TENANTS), self._ids()[:1], self._dice.randint(0, 3)
        return lambda c: c.set_payload(tenant, ids, {"n": value})

    def _by_filter(self) -> Any:
        tenant, low, kind = self._dice.choice(TENANTS), self._dice.randint(1, 3), self._dice.choice(["delete", "grant"])
        wanted = {"must": [{"key": "n", "range": {"gte": low}}], "must_not": [{"has_id": list(range(40))}]}
        return (lambda c: c.delete(tenant, wanted)) if kind == "delete" else (lambda c: c.grant(tenant, wanted, to="r"))

    def _member(self) -> Any:
        role, tenant, join = self._dice.choice(ROLES), self._dice.choice(TENANTS), self._dice.random() < 0.6
        return lambda c: c.add_member(role, tenant) if join else c.remove_member(role, tenant)

    def _tenant(self) -> Any:
        name, ids = self._dice.choice(TENANTS), [IDS, IDS + 1]
        vectors = self._rng.standard_normal((2, DIM))

        def again(c: Collection) -> Any:
            dropped = c.drop_tenant(name)
            c.create_tenant(name)
            return dropped, c.upsert(name, Points(ids, vectors))

        return again

    def compare(self, one: Collection, other: Collection) -> None:
        query, wanted = self._rng.standard_normal(DIM), {"must": [{"key": "n", "range": {"lte": self._dice.randint(0, 2)}}]}
        for tenant in TENANTS:
            for how in ({}, {"filter": wanted}):
                found, right = one.search(tenant, query, 7, exact=True, **how), other.search(tenant, query, 7, **how)
                assert [(hit.owner, hit.id, hit.payload) for hit in found] == [(hit.owner, hit.id, hit.payload) for hit in right]
                assert found.distances == pytest.approx(right.distances, rel=1e-4, abs=1e-5)
                assert len(one.search(tenant, query, 7, **how)) == len(right)


@pytest.mark.parametrize("seed", range(3))
def test_a_walk(quick_folder: Path, seed: int) -> None:
    walk, dice = Walk(seed), random.Random(seed)
    plain = Database.open(None, index_type=PlainIndex, background=False)
    real = Database.open(quick_folder / "db", background=False, warm_bytes_max=0)
    for db in (plain, real):
        c = db.create_collection("c", dim=DIM)
        for name in TENANTS:
            c.create_tenant(name)
        for name in ROLES:
            c.create_role(name)
    for step in range(300):
        walk.step([plain.collection("c"), real.collection("c")])
        if step % 10 == 9:
            walk.compare(real.collection("c"), plain.collection("c"))
            real.collection("c").check()
        if step % 30 == 29:
            dice.choice([real.snapshot, real.housekeep, real.close, real._let_go])()
            if real._lock is None:
                real = Database.open(quick_folder / "db", background=False, warm_bytes_max=0)
            assert_same(dump(real), dump(plain))
    real.close()


def assert_same(found: Any, right: Any) -> None:
    """But for the order of points, which is that of writing in both, and for rounding."""
    assert found.keys() == right.keys()
    for name in found["c"]:
        assert found["c"][name][0] == right["c"][name][0]
        if found["c"][name][1] is not None:
            assert found["c"][name][1][0] == right["c"][name][1][0]
            assert [record[:3] for record in found["c"][name][1][1:]] == [record[:3] for record in right["c"][name][1][1:]]
