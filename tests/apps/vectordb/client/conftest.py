"""Our client and qdrant_client's local mode, each with the same few points in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import qdrant_client

from apps.vectordb.client import Client, models

UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
VECTORS = {1: [1.0, 0.1, 0.0], 2: [0.9, 0.3, 0.1], 3: [0.0, 0.2, 1.0], UUID: [0.2, 1.0, 0.2]}
PAYLOADS = {1: {"n": 1, "of": {"a": 1, "b": [{"x": 1, "y": 2}, {"x": 3}]}}, 2: {"n": 2, "tags": ["p", "q"]}, 3: {"n": 3}, UUID: {}}


def filled(client: Any, models: Any) -> Any:
    client.create_collection("c", models.VectorParams(size=3, distance=models.Distance.COSINE))
    client.upsert("c", [models.PointStruct(id=id, vector=VECTORS[id], payload=PAYLOADS[id]) for id in VECTORS])
    return client


@pytest.fixture
def ours() -> Iterator[Client]:
    with Client(":memory:") as client:
        yield filled(client, models)


@pytest.fixture
def theirs() -> Iterator[qdrant_client.QdrantClient]:
    client = qdrant_client.QdrantClient(":memory:")
    yield filled(client, qdrant_client.models)
    client.close()
