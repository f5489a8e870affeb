"""The database judges its own searches, off the query path."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Database, NotFound, Points, Recall
from tests.apps.vectordb.database.plain_index import PlainIndex


class Forgetful(PlainIndex):
    """Misses every other result, unless asked to be exact. Counts what it is asked."""

    asked = 0

    def search(self, vector: Any, k: int, tenants: Any, *, exact: bool = False, **how: Any) -> Any:
        Forgetful.asked += 1
        ids, distances = super().search(vector, k, tenants, **how)
        return (ids, distances) if exact else (ids[::2], distances[::2])


@pytest.fixture
def db() -> Any:
    with Database.open(None, index_type=Forgetful, background=False, recall_sample=0.25) as db:
        c = db.create_collection("c", dim=2)
        for name, size in (("small", 10), ("large", 600)):
            c.create_tenant(name)
            c.upsert(name, Points(range(size), np.random.default_rng(1).random((size, 2)), [{"even": i % 2 == 0} for i in range(size)]))
        yield db


def test_every_fourth_query_is_judged_later(db: Database) -> None:
    c = db.collection("c")
    Forgetful.asked = 0
    for _ in range(6):
        c.search("small", [0, 0], 4)
    c.search("large", np.zeros((6, 2)), 4, {"must": [{"key": "even", "match": {"value": True}}]})
    assert c.recall("small") == Recall(0, 0, 0)
    assert c.recall("small").recall is None
    assert Forgetful.asked == 12  # nothing was judged on the way
    db.housekeep()
    assert c.recall("small") == Recall(queries=1, expected=4, found=2)
    assert c.recall("large") == Recall(queries=2, expected=8, found=4)
    assert c.recall("large").recall == 0.5
    assert {name: figure.queries for name, figure in c.recall().items()} == {"<500": 1, "<2000": 2, "<8000": 0, ">=8000": 0}


def test_exact_searches_are_not_judged_and_a_flood_is_bounded(db: Database) -> None:
    c = db.collection("c")
    for _ in range(10):
        c.search("small", np.zeros((100, 2)), 1, exact=True)
    db.housekeep()
    assert c.recall("small").queries == 0
    for _ in range(20):
        c.search("small", np.zeros((100, 2)), 1)
    c.search("large", np.zeros((4, 2)), 1)
    db.housekeep()
    assert c.recall("small").queries == 2 and c.recall("large").queries == 1, "the other tenant's is judged, too"


def test_a_dropped_tenant_is_forgotten(db: Database) -> None:
    c = db.collection("c")
    c.search("small", np.zeros((8, 2)), 1)
    c.drop_tenant("small")
    db.housekeep()
    c.create_tenant("small")
    assert c.recall("small").queries == 0
    with pytest.raises(NotFound):
        c.recall("nobody")
