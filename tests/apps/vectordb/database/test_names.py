"""Results are named alike whether their points stand in a snapshot, with or without gaps, or were written since."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apps.vectordb.database import Database, Points
from tests.apps.vectordb.database.plain_index import PlainIndex

UUID = "3f2b0c1e-0a5d-4b7e-9c3d-1f2e3d4c5b6a"


def test_a_batch_names_old_points_new_points_and_uuids(quick_folder: Path) -> None:
    def opened() -> Database:
        return Database.open(quick_folder, index_type=PlainIndex, background=False)

    def write(name: str, ids: list, at: float) -> None:
        vectors = np.array([[at + i / 10, 0] for i in range(len(ids))], np.float32)
        papers.upsert(name, Points(ids, vectors, [{"of": name, "n": str(each)} for each in ids]))

    with opened() as db:
        papers = db.create_collection("papers", dim=2)
        for name in ("acme", "bolt", "cove", "dent"):
            papers.create_tenant(name)
        write("acme", [1, 2, 3, 4], 0)
        write("bolt", [1, UUID], 10)
        write("cove", [7, 2**64 - 1], 20)
        papers.delete("acme", [2])
    with opened() as db:
        papers = db.collection("papers")
        write("bolt", [9], 11)
        write("dent", [5], 30)
        for name, ids in (("bolt", [1, UUID, 9]), ("cove", [7, 2**64 - 1]), ("dent", [5])):
            papers.grant(name, ids, to="acme")
        queries = np.array([[0, 0], [10, 0], [20, 0], [30, 0]], np.float32)
        batch = papers.search("acme", queries, 3)
        assert [list(zip(hits.owners, hits.ids, strict=True)) for hits in batch] == [
            [("acme", 1), ("acme", 3), ("acme", 4)],
            [("bolt", 1), ("bolt", UUID), ("bolt", 9)],
            [("cove", 7), ("cove", 2**64 - 1), ("bolt", 9)],
            [("dent", 5), ("cove", 2**64 - 1), ("cove", 7)],
        ]
        larger = papers.search("acme", np.tile(queries, (10, 1)), 3)
        assert [list(hits) for hits in larger] == 10 * [list(hits) for hits in batch]
        for query, hits in zip(queries, batch, strict=True):
            assert list(papers.search("acme", query, 3)) == list(hits)
            assert all(f'"{hit.owner}"'.encode() in hit.payload and f'"{hit.id}"'.encode() in hit.payload for hit in hits)
        assert list(papers.search("acme", queries[:0], 3)) == []
