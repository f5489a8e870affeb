"""Methods, one by one: what a user sees here is what he sees at qdrant_client's local mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import qdrant_client

from apps.vectordb.client import Client, exceptions, models
from tests.apps.vectordb.client.conftest import UUID


def seen(client: Any) -> list[tuple[Any, ...]]:
    """All points, in the order of their ids."""
    records = client.scroll("c", limit=100, with_vectors=True)[0]
    rows = ((str(each.id), each.payload, np.round(np.asarray(each.vector, np.float32), 4).tolist()) for each in records)
    return sorted(rows, key=lambda row: row[0])


def hits(client: Any, query: Any, **how: Any) -> list[tuple[Any, ...]]:
    return [(hit.id, round(hit.score, 4), hit.payload) for hit in client.query_points("c", query=query, **how).points]


def numbers(client: Any, m: Any) -> Iterator[Any]:
    """Points that are made as they are asked for."""
    return (m.PointStruct(id=n, vector=[n, 1, 0], payload={"n": n}) for n in range(10, 15))


def operations(client: Any, m: Any) -> Any:
    some = m.Filter(must=[m.FieldCondition(key="n", range=m.Range(lt=3))])
    return client.batch_update_points("c", [
        m.UpsertOperation(upsert=m.PointsList(points=[m.PointStruct(id=7, vector=[0, 0, 1], payload={"n": 7})])),
        m.UpsertOperation(upsert=m.PointsBatch(batch=m.Batch(ids=[8, 9], vectors=[[0, 1, 0], [1, 1, 0]]))),
        m.SetPayloadOperation(set_payload=m.SetPayload(payload={"seen": True}, filter=some)),
        m.SetPayloadOperation(set_payload=m.SetPayload(payload={"z": 1}, points=[1], key="of.deep")),
        m.OverwritePayloadOperation(overwrite_payload=m.SetPayload(payload={"only": 1}, points=[3])),
        m.DeletePayloadOperation(delete_payload=m.DeletePayload(keys=["of.a", "of.b[].x"], points=[1])),
        m.UpdateVectorsOperation(update_vectors=m.UpdateVectors(points=[m.PointVectors(id=7, vector=[1, 0, 0])])),
        m.ClearPayloadOperation(clear_payload=m.PointIdsList(points=[2])),
        m.DeleteOperation(delete=m.PointIdsList(points=[8])),
        m.DeleteOperation(delete=m.FilterSelector(filter=m.Filter(must=[m.HasIdCondition(has_id=[9])]))),
    ])


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "upload_points": lambda client, m: client.upload_points("c", numbers(client, m), batch_size=2),
    "upload_collection of an array": lambda client, m: client.upload_collection(
        "c", np.eye(3, dtype=np.float32), payload=iter([{"a": 1}, {"a": 2}, {}]), ids=[20, 21, 22], batch_size=2),
    "upload_collection of lists": lambda client, m: client.upload_collection("c", iter(np.eye(3).tolist()), ids=iter([20, 21, 22])),
    "update_vectors": lambda client, m: client.update_vectors("c", [
        m.PointVectors(id=1, vector=[0, 0, 1]), m.PointVectors(id=UUID, vector=[1, 1, 1])]),
    "set_payload at a key": lambda client, m: client.set_payload("c", {"new": 1, "a": None}, points=[1], key="of"),
    "set_payload in each object": lambda client, m: client.set_payload("c", {"new": 1}, points=[1], key="of.b[]"),
    "set_payload in one object": lambda client, m: client.set_payload("c", {"new": 1}, points=[1], key="of.b[1]"),
    "set_payload at a new key": lambda client, m: client.set_payload(
        "c", {"new": 1}, points=m.Filter(must=[m.HasIdCondition(has_id=[2])]), key="u.v"),
    "set_payload with null": lambda client, m: client.set_payload("c", {"n": None, "tags": ["z"]}, points=[2]),
    "delete_payload at paths": lambda client, m: client.delete_payload("c", ["of.b[].x", "n", "none.of", "of.b[0]"], points=[1]),
    "delete_payload of an array": lambda client, m: client.delete_payload("c", ["of.b[]"], points=[1]),
    "clear_payload": lambda client, m: client.clear_payload("c", points_selector=[1, UUID]),
    "batch_update_points": operations,
    "recreate_collection": lambda client, m: client.delete_collection("c") and client.create_collection(
        "c", m.VectorParams(size=3, distance=m.Distance.DOT)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_leaves_the_same_points(ours: Client, theirs: Any, change: Callable[[Any, Any], Any]) -> None:
    before = seen(ours)
    change(ours, models)
    change(theirs, qdrant_client.models)
    assert seen(ours) == seen(theirs) != before


def recommend(m: Any, **examples: Any) -> Any:
    return m.RecommendQuery(recommend=m.RecommendInput(**examples))


def discover(m: Any, target: Any, *pairs: tuple[Any, Any]) -> Any:
    context = [m.ContextPair(positive=positive, negative=negative) for positive, negative in pairs]
    return m.DiscoverQuery(discover=m.DiscoverInput(target=target, context=context))


def grouped(client: Any, group_by: str, query: Any, **how: Any) -> list[tuple[Any, ...]]:
    return [(group.id, [(hit.id, round(hit.score, 4), hit.payload) for hit in group.hits])
            for group in client.query_points_groups("c", group_by=group_by, query=query, **how).groups]


def facet(client: Any, key: str, **how: Any) -> list[tuple[Any, int]]:
    return [(hit.value, hit.count) for hit in client.facet("c", key=key, **how).hits]


def ordered(client: Any, order_by: Any, **how: Any) -> list[tuple[Any, ...]]:
    return [(each.id, each.order_value, each.payload) for each in client.scroll("c", order_by=order_by, **how)[0]]


def spread(client: Any, m: Any) -> Any:
    """The client, with 60 points more: one group is near, and others are far away."""
    rows = np.random.default_rng(3).normal(size=(60, 3))
    rows[:40, 0] += 4
    client.upsert("c", m.Batch(ids=list(range(100, 160)), vectors=rows.tolist(), payloads=[
        {"n": n % 4 + 0.5 * (n % 3), "city": "near" if n < 40 else f"far {n % 6}", "tags": [["p"], ["q", "q", "r"], [], [True]][n % 4],
         "at": f"2026-01-{n % 20 + 1:02}T0{n % 10}:00:00Z", "of": {"a": n % 5}} for n in range(60)]))
    return client


SEARCHES: dict[str, Callable[[Any, Any], Any]] = {
    "by id": lambda client, m: hits(client, 1),
    "by uuid": lambda client, m: hits(client, UUID, limit=2),
    "by uuid without hyphens": lambda client, m: hits(client, UUID.replace("-", ""), limit=2),
    "by id with a filter": lambda client, m: hits(client, 1, query_filter=m.Filter(must_not=m.HasIdCondition(has_id=[2]))),
    "nearest": lambda client, m: hits(client, m.NearestQuery(nearest=2), limit=1, offset=1),
    "recommend": lambda client, m: hits(client, recommend(m, positive=[1, [0.0, 0.0, 1.0]], negative=[UUID])),
    "recommend by one": lambda client, m: hits(client, recommend(m, positive=[3], strategy=m.RecommendStrategy.AVERAGE_VECTOR)),
    "recommend by the best": lambda client, m: hits(client, recommend(
        m, positive=[3, [0.0, 1.0, 0.0]], negative=[UUID], strategy=m.RecommendStrategy.BEST_SCORE), limit=2),
    "recommend by the worst": lambda client, m: hits(client, recommend(m, negative=[UUID], strategy=m.RecommendStrategy.BEST_SCORE)),
    "recommend by sums": lambda client, m: hits(client, recommend(
        m, positive=[1], negative=[2, [0.5, 0.0, 1.0]], strategy=m.RecommendStrategy.SUM_SCORES), score_threshold=-2, offset=1),
    "discover": lambda client, m: hits(spread(client, m), discover(m, [1.0, 0.0, 0.0], (1, 2), ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0])), limit=20),
    "discover by id": lambda client, m: hits(client, discover(m, UUID, (1, 3))),
    "discover without context": lambda client, m: hits(client, discover(m, [1.0, 0.0, 0.0])),
    "context": lambda client, m: sorted(hits(
        spread(client, m), m.ContextQuery(context=[m.ContextPair(positive=1, negative=3)]), limit=99), key=str),
    "examples in a batch": lambda client, m: [[hit.id for hit in answer.points] for answer in client.query_batch_points("c", [
        m.QueryRequest(query=[1, 0, 0], limit=1), m.QueryRequest(query=discover(m, [1.0, 0.0, 0.0], (1, 2)), limit=1),
        m.QueryRequest(query=recommend(m, positive=[1], strategy=m.RecommendStrategy.BEST_SCORE), limit=2)])],
    "groups": lambda client, m: grouped(spread(client, m), "city", [4, 0, 0], limit=4, group_size=2, with_payload=["n"]),
    "groups of numbers": lambda client, m: grouped(client, "n", [1, 0, 0]),
    "groups of arrays": lambda client, m: grouped(spread(client, m), "tags", [0, 1, 0], limit=3, group_size=4, with_payload=False),
    "groups of a filter": lambda client, m: grouped(
        spread(client, m), "of.a", 1, query_filter=m.Filter(must=[m.FieldCondition(key="city", match=m.MatchText(text="far"))]), limit=9,
        score_threshold=0.1),
    "groups of examples": lambda client, m: grouped(spread(client, m), "city", discover(m, [1.0, 0.0, 0.0], (1, 2)), limit=3),
    "groups of nothing": lambda client, m: grouped(client, "none", [1, 0, 0]),
    "facet": lambda client, m: facet(spread(client, m), "city"),
    "facet of arrays": lambda client, m: facet(spread(client, m), "tags", limit=2, exact=True),
    "facet of a filter": lambda client, m: facet(
        spread(client, m), "of.a", facet_filter=m.Filter(must=[m.FieldCondition(key="city", match=m.MatchValue(value="near"))])),
    "facet in objects": lambda client, m: facet(client, "of.b[].x"),
    "ordered": lambda client, m: ordered(spread(client, m), "n", limit=50, with_payload=["n"]),
    "ordered down": lambda client, m: ordered(spread(client, m), m.OrderBy(key="n", direction=m.Direction.DESC), limit=7),
    "ordered from": lambda client, m: ordered(spread(client, m), m.OrderBy(key="n", start_from=2), limit=3, with_payload=False),
    "ordered down from": lambda client, m: ordered(spread(client, m), m.OrderBy(key="n", direction="desc", start_from=2.5), limit=30),
    "ordered by time": lambda client, m: ordered(
        spread(client, m), m.OrderBy(key="at", start_from=datetime(2026, 1, 5, 3)), limit=9,
        scroll_filter=m.Filter(must=[m.FieldCondition(key="of.a", match=m.MatchAny(any=[1, 2]))])),
    "offset": lambda client, m: hits(client, [1, 0, 0], limit=2, offset=1),
    "threshold": lambda client, m: hits(client, [1, 0, 0], score_threshold=0.9),
    "threshold and offset": lambda client, m: hits(client, [1, 0, 0], score_threshold=0.1, offset=1),
    "exact": lambda client, m: hits(client, [1, 0, 0], search_params=m.SearchParams(exact=True)),
    "no payload": lambda client, m: hits(client, [1, 0, 0], with_payload=False),
    "some payload": lambda client, m: hits(client, [1, 0, 0], with_payload=["of.a", "tags", "of.b[].x"]),
    "payload included": lambda client, m: hits(client, [1, 0, 0], with_payload=m.PayloadSelectorInclude(include=["of.b", "of.b[].x"])),
    "payload excluded": lambda client, m: hits(client, [1, 0, 0], with_payload=m.PayloadSelectorExclude(exclude=["of.b[].x", "n"])),
    "batch": lambda client, m: [[(hit.id, hit.payload) for hit in answer.points] for answer in client.query_batch_points("c", [
        m.QueryRequest(query=[1, 0, 0], limit=1), m.QueryRequest(query=2, limit=2, with_payload=["n"]), m.QueryRequest(query=[0, 0, 1], limit=1),
        m.QueryRequest(query=recommend(m, positive=[1, 2]), limit=2, offset=1, with_payload=True),
        m.QueryRequest(query=[0, 1, 0], filter=m.Filter(must=[m.FieldCondition(key="n", match=m.MatchValue(value=3))]), score_threshold=0.1)])],
    "no batch": lambda client, m: client.query_batch_points("c", []),
    "retrieve": lambda client, m: [(each.id, each.payload) for each in client.retrieve("c", [3, 99, 1], with_payload=["n"])],
    "count": lambda client, m: client.count("c", exact=True).count,
    "info": lambda client, m: (client.get_collection("c").points_count, client.get_collection("c").config.params.vectors.size,
                               client.get_collection("c").status.value, client.collection_exists("d")),
}


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_a_search_finds_the_same(ours: Client, theirs: Any, search: Callable[[Any, Any], Any]) -> None:
    assert search(ours, models) == search(theirs, qdrant_client.models)


def test_an_upload_tells_its_progress_and_makes_ids(ours: Client) -> None:
    told: list[int] = []
    ours.upload_collection("c", np.eye(3), batch_size=2, progress=told.append)
    assert told == [2, 3] and ours.count("c").count == 7
    with pytest.raises(ValueError, match="more vectors than ids"):
        ours.upload_collection("c", np.eye(3), ids=[1])


@pytest.mark.parametrize("call", [
    lambda c: c.query_points("c", [1, 0, 0], using="title"), lambda c: c.query_points("c", [1, 0, 0], with_vectors=["title"]),
    lambda c: c.query_points("c", [1, 0, 0], search_params=qdrant_client.models.SearchParams(hnsw_ef=9)),
    lambda c: c.query_points("c", qdrant_client.models.FusionQuery(fusion="rrf")), lambda c: c.query_points("c", None),
    lambda c: c.query_points("c", recommend(models, strategy="best_score")), lambda c: c.query_points("c", models.ContextQuery([])),
    lambda c: c.query_points_groups("c", "n", [1, 0, 0], with_lookup="d"),
    lambda c: c.query_points("c", recommend(models, negative=[1])), lambda c: c.query_points("c", [[1, 0, 0]]),
    lambda c: c.query_batch_points("c", [qdrant_client.models.QueryRequest(query=[1, 0, 0], using="title")]),
    lambda c: c.upsert("c", [models.PointStruct(1, {"title": [1, 0, 0]})]),
    lambda c: c.create_collection("d", {"title": models.VectorParams(3, models.Distance.COSINE)}),
    lambda c: c.create_collection("d", models.VectorParams(3, models.Distance.COSINE), hnsw_config={}),
    lambda c: c.create_collection("d", qdrant_client.models.VectorParams(size=3, distance="Manhattan")),
    lambda c: c.batch_update_points("c", [qdrant_client.models.DeleteVectorsOperation(
        delete_vectors=qdrant_client.models.DeleteVectors(points=[1], vector=[""]))]),
    lambda c: c.batch_update_points("c", [models.SetPayloadOperation(models.SetPayload({"a": 1}))]),
    lambda c: c.retrieve("c", [1], with_payload=7), lambda c: c.retrieve("c", [1], with_payload=["a["]),
    lambda c: c.delete_vectors("c", [1], [""]), lambda c: Client(host="localhost", port=6333),
])
def test_what_is_not_there_is_refused_and_not_ignored(ours: Client, call: Callable[[Any], Any]) -> None:
    before = seen(ours)
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        call(ours)
    assert len(str(caught.value)) > 30, "it says what to do"
    assert seen(ours) == before


def test_an_index_is_on_the_collection_s_card(ours: Client) -> None:
    ours.create_payload_index("c", "n", models.PayloadSchemaType.INTEGER)
    ours.create_payload_index("c", "tags", field_schema=qdrant_client.models.KeywordIndexParams(type="keyword", is_tenant=True))
    ours.create_payload_index("c", "of.a", "float")
    ours.delete_payload_index("c", "of.a")
    schema = ours.get_collection("c").payload_schema
    assert {key: (each.data_type.value, each.points) for key, each in schema.items()} == {"n": ("integer", 3), "tags": ("keyword", 1)}


@pytest.mark.parametrize("call", [
    lambda c: c.facet("c", "a["), lambda c: c.facet("c", "n", limit=0), lambda c: c.query_points_groups("c", "n", [1, 0, 0], limit=0),
    lambda c: c.query_points_groups("c", "n", [1, 0, 0], group_size=10**6), lambda c: c.scroll("c", order_by=models.OrderBy("n", start_from="soon")),
    lambda c: c.scroll("c", order_by="n", offset="x"), lambda c: c.create_payload_index("c", "n", "vector"),
    lambda c: c.query_points("c", recommend(models, positive=[[1, 0]], strategy="sum_scores")), lambda c: c.facet("none", "n"),
    lambda c: c.retrieve("c", [1], with_payload=["a"] * 300)])
def test_what_is_wrong_is_an_unexpected_response(ours: Client, call: Callable[[Any], Any]) -> None:
    with pytest.raises(exceptions.UnexpectedResponse) as caught:
        call(ours)
    assert caught.value.status_code in (400, 404)
