"""A program written for qdrant_client runs here with another import: the same text over its local mode and over this service."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import qdrant_client

from apps.vectordb.client import QdrantClient, models
from tests.apps.vectordb.service.conftest import Running

UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"


def program(client: Any, models: ModuleType) -> dict[str, Any]:
    """What a user of qdrant_client might write, and what he sees."""
    seen: dict[str, Any] = {"before": client.collection_exists("films")}
    client.create_collection("films", vectors_config=models.VectorParams(size=3, distance=models.Distance.COSINE))
    client.upsert("films", points=[
        models.PointStruct(id=1, vector=[0.9, 0.1, 0.0], payload={"title": "Alien", "year": 1979, "genres": ["horror", "space"]}),
        models.PointStruct(id=2, vector=[0.8, 0.3, 0.1], payload={"title": "Solaris", "year": 1972, "genres": ["space"]}),
        models.PointStruct(id=3, vector=[0.0, 0.2, 0.9], payload={"title": "Amélie", "year": 2001, "genres": ["comedy"]}),
        models.PointStruct(id=UUID, vector=[0.1, 0.9, 0.2], payload={"title": "Heat", "year": 1995}),
    ])
    client.upsert("films", points=models.Batch(
        ids=[5, 6], vectors=[[0.1, 0.1, 0.8], [0.5, 0.5, 0.1]], payloads=[{"year": 2010}, {"year": 1960}]))
    space = models.Filter(must=[models.FieldCondition(key="genres[]", match=models.MatchValue(value="space"))])
    old = models.Filter(must=[models.FieldCondition(key="year", range=models.Range(lt=1975))])
    hits = client.query_points("films", query=[1.0, 0.2, 0.0], limit=3).points
    seen["nearest"] = [(hit.id, round(hit.score, 5), hit.payload["year"]) for hit in hits]
    seen["numpy"] = [hit.id for hit in client.query_points("films", query=np.array([0.0, 0.1, 1.0]), limit=2).points]
    seen["filtered"] = [hit.id for hit in client.query_points("films", query=[0.0, 0.0, 1.0], query_filter=space, limit=9).points]
    seen["near enough"] = [hit.id for hit in client.query_points("films", query=[1.0, 0.0, 0.0], score_threshold=0.9, limit=9).points]
    batch = client.query_batch_points("films", requests=[
        models.QueryRequest(query=vector, limit=1, with_payload=True) for vector in np.eye(3).tolist()])
    seen["batch"] = [answer.points[0].payload["year"] for answer in batch]
    seen["counts"] = client.count("films").count, client.count("films", count_filter=old).count
    seen["either"] = client.count("films", count_filter=models.Filter(should=[space, old], must_not=[models.HasIdCondition(has_id=[1])])).count
    seen["without"] = client.count("films", count_filter=models.Filter(
        must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="genres"))])).count
    page, offset = client.scroll("films", limit=4)
    rest, end = client.scroll("films", limit=4, offset=offset)
    seen["scrolled"] = sorted(str(record.id) for record in page + rest), end
    client.set_payload("films", payload={"seen": True}, points=[1, 2])
    client.delete_payload("films", keys=["genres"], points=[1])
    client.overwrite_payload("films", payload={"year": 1}, points=[3])
    seen["payloads"] = {record.id: record.payload for record in client.retrieve("films", ids=[1, 2, 3])}
    client.delete("films", points_selector=[5])
    client.delete("films", points_selector=models.FilterSelector(filter=old))
    client.delete("films", points_selector=models.PointIdsList(points=[UUID]))
    seen["left"] = sorted(record.id for record in client.scroll("films", limit=100)[0])
    info = client.get_collection("films")
    seen["info"] = info.points_count, [each.name for each in client.get_collections().collections]
    seen["deleted"] = bool(client.delete_collection("films")), client.collection_exists("films")
    return seen


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What qdrant_client's own local mode answers."""
    client = qdrant_client.QdrantClient(":memory:")
    try:
        return program(client, qdrant_client.models)
    finally:
        client.close()


def test_the_program_sees_the_same(running: Running, expected: dict[str, Any]) -> None:
    client: QdrantClient = running.client("admin")
    assert program(client, models) == expected  # type: ignore[arg-type]


def test_qdrants_own_models_are_taken_too(running: Running, expected: dict[str, Any]) -> None:
    assert program(running.client("admin"), qdrant_client.models) == expected
