"""A short life of a database as single operations, and what must be in it after each: for tests that end it at any point."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from apps.vectordb.database import Database, Point, Quota, Sparse
from tests.apps.vectordb.database.plain_index import PlainIndex

Operation = Callable[[Database], object]
UUID_A = "0190d6a2-7a3b-7c4d-8e5f-001122334455"


def papers(db: Database) -> Any:
    return db.collection("papers")


STORY: list[Operation] = [
    lambda db: db.create_collection("papers", dim=2, sparse={"text": {}}),
    lambda db: papers(db).create_tenant("acme"),
    lambda db: papers(db).create_tenant("bolt", Quota(vectors=5)),
    lambda db: papers(db).upsert("acme", [Point(i, [i, 1], {"n": i}, {"text": Sparse([i, 9], [1, i])}) for i in range(6)]),
    lambda db: papers(db).grant("acme", [1, 2, 3], to="bolt"),
    lambda db: papers(db).upsert("bolt", [Point(UUID_A, [0.5, 0.5]), Point(9, [9, 9])]),
    lambda db: db.snapshot(),
    lambda db: papers(db).upsert("acme", [Point(5, [50, 1], {"moved": True}, {"text": Sparse([7], [7])}), Point(6, [6, 1])]),
    lambda db: papers(db).delete("acme", [0, 2]),
    lambda db: papers(db).revoke("acme", [1], from_="bolt"),
    lambda db: papers(db).set_payload("acme", [1, 3], {"tag": "x"}),
    lambda db: papers(db).create_role("readers"),
    lambda db: papers(db).add_member("readers", "bolt"),
    lambda db: papers(db).grant("acme", [4], to="readers"),
    lambda db: db.create_collection("notes", dim=3, metric="cosine"),
    lambda db: db.snapshot(),
    lambda db: papers(db).delete("bolt", [9]),
    lambda db: papers(db).upsert("acme", [Point(0, [0, 7], {"again": 1})]),
    lambda db: db.drop_collection("notes"),
    lambda db: db.snapshot(),
    lambda db: papers(db).drop_tenant("bolt"),
]


def dump(db: Database) -> dict[str, Any]:
    """Everything that users can see."""
    return {name: {info.name: (info, None if info.is_role else _points(db.collection(name), info.name)) for info in db.collection(name).tenants()}
            for name in db.collections()}


def _points(collection: Any, tenant: str) -> list[Any]:
    page = collection.scroll(tenant, limit=1000, with_vector=True)
    usage = collection.usage(tenant)
    return [usage[:4], *((record.owner, record.id, json.loads(record.payload), record.vector.tolist(), *_sparse(record)) for record in page.records)]


def _sparse(record: Any) -> list[Any]:
    return [(name, each.indices.tolist(), each.values.tolist()) for name, each in record.sparse.items()]


def expected() -> list[dict[str, Any]]:
    """What is to be seen after the first 0, 1, 2, ... operations."""
    with Database.open(None, index_type=PlainIndex, background=False) as db:
        states = [dump(db)]
        for operation in STORY:
            operation(db)
            states.append(dump(db))
    return states
