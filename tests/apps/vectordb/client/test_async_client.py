"""The client of asyncio: the same methods, over the mesh, over gRPC, and on a database of its own."""

from __future__ import annotations

import asyncio
import inspect

import numpy as np
import pytest

from apps.vectordb.client import AsyncClient, AsyncQdrantClient, Client, exceptions, models
from tests.apps.vectordb.service.conftest import Running, mesh, running  # noqa: F401


async def use(client: AsyncClient) -> None:
    await client.create_collection("films", models.VectorParams(4, models.Distance.COSINE))
    await client.upload_collection("films", np.eye(4, dtype=np.float32), ids=range(4), payload=[{"n": n} for n in range(4)], batch_size=3)
    found = await asyncio.gather(*(client.query_points("films", row, limit=1) for row in np.eye(4)))
    assert [each.points[0].id for each in found] == [0, 1, 2, 3] and found[2].points[0].payload == {"n": 2}
    assert len((await client.query_points("films", 0, limit=9)).points) == 3
    wanted = models.Filter(must=models.FieldCondition("n", range=models.Range(gt=1)))
    assert (await client.count("films", wanted, timeout=5)).count == 2
    await client.create_payload_index("films", "n", "integer")
    assert (await client.get_collection("films")).payload_schema["n"].points == 4
    assert [tuple(hit) for hit in (await client.facet("films", "n", wanted)).hits] == [(2, 1), (3, 1)]
    groups = (await client.query_points_groups("films", "n", [0, 0, 1, 0.5], limit=2, with_payload=["n"], with_vectors=True)).groups
    assert [(group.id, group.hits[0].payload, group.hits[0].vector.argmax()) for group in groups] == [(2, {"n": 2}, 2), (3, {"n": 3}, 3)]
    page, following = await client.scroll("films", order_by=models.OrderBy("n", models.Direction.DESC, start_from=2), with_payload=False)
    assert [(each.id, each.order_value, each.payload) for each in page] == [(2, 2, None), (1, 1, None), (0, 0, None)] and following is None
    best = models.RecommendQuery(models.RecommendInput(positive=[0], negative=[3], strategy=models.RecommendStrategy.SUM_SCORES))
    assert {hit.id for hit in (await client.query_points("films", best)).points} == {1, 2}
    with pytest.raises(exceptions.UnexpectedResponse, match="nowhere"):
        await client.count("nowhere")
    pieces = [piece async for piece in client.export_tenant("films")]
    assert await client.recreate_collection("films", models.VectorParams(4, models.Distance.COSINE))
    await client.delete_tenant("films", (await client.tenants("films"))[0])
    assert await client.import_tenant("films", pieces) == 4
    assert await client.delete_collection("films") and not await client.delete_collection("films")


def test_over_the_service(running: Running) -> None:  # noqa: F811
    async def main() -> None:
        target = None if running.system == "mrpc" else f"127.0.0.1:{running.service.port}"
        async with AsyncQdrantClient(target, tenant="admin", system=running.system) as client:
            await use(client)

    asyncio.run(main())


def test_on_a_database_of_its_own() -> None:
    async def main() -> None:
        async with AsyncQdrantClient(":memory:") as client:
            await use(client)

    asyncio.run(main())


def test_both_clients_have_the_same_methods() -> None:
    ours = {name for name in vars(Client) | vars(AsyncClient) if not name.startswith("_")}
    assert ours == {"export_tenant"}, "what is not written once"
    for name, _ in inspect.getmembers(Client, callable):
        if not name.startswith("_"):
            assert inspect.signature(getattr(Client, name)).parameters == inspect.signature(getattr(AsyncClient, name)).parameters
