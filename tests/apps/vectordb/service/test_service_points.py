"""What tenants do with points, through the client, over both systems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from apps.vectordb.client import Client, models
from tests.apps.vectordb.service.conftest import Running

Papers = Callable[[str], Client]
UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"


@pytest.fixture
def acme(papers: Papers) -> Client:
    """With three points."""
    client = papers("acme")
    client.upsert("papers", [
        models.PointStruct(1, [1, 0, 0, 0], {"year": 2020, "tags": ["a", "b"]}),
        models.PointStruct(2, [0, 1, 0, 0], {"year": 2024}),
        models.PointStruct(UUID, [0, 0, 1, 0]),
    ])
    return client


def names(points: list) -> list:
    return [point.id for point in points]


def test_search_finds_the_nearest_with_scores_payloads_and_vectors(acme: Client) -> None:
    found = acme.query_points("papers", [0.9, 0.1, 0, 0], limit=2, with_vectors=True).points
    assert names(found) == [1, 2] and found[0].score == pytest.approx(0.9939, abs=1e-4)
    assert found[0].payload == {"year": 2020, "tags": ["a", "b"]} and found[0].owner == "acme"
    assert found[0].vector.tolist() == [1, 0, 0, 0]
    assert names(acme.query_points("papers", np.array([0, 0, 1, 0.1], np.float16), limit=1, with_payload=False).points) == [UUID]


def test_k_is_what_there_is_at_most(acme: Client) -> None:
    assert len(acme.query_points("papers", [1, 0, 0, 0], limit=100).points) == 3
    assert acme.query_points("papers", [1, 0, 0, 0], limit=2, offset=2).points[0].id == UUID
    assert len(acme.query_points("papers", [1, 0, 0, 0], limit=10, score_threshold=0.5).points) == 1


def test_many_queries_in_one_call(acme: Client) -> None:
    queries = [models.QueryRequest([1, 0, 0, 0], limit=1), models.QueryRequest([0, 1, 0, 0], limit=1)]
    assert [names(found.points) for found in acme.query_batch_points("papers", queries)] == [[1], [2]]
    year = models.Filter(must=models.FieldCondition("year", range=models.Range(gt=2021)))
    mixed = [queries[0], models.QueryRequest([1, 0, 0, 0], filter=year), models.QueryRequest([0, 0, 1, 0], limit=1, offset=1), queries[1]]
    assert [names(found.points) for found in acme.query_batch_points("papers", mixed)] == [[1], [2], [1], [2]]
    ids, scores, counts = acme.search_columns("papers", np.eye(4, dtype=np.float32)[:2], 3)
    assert ids.dtype == np.uint64 and counts.tolist() == [3, 3] and scores.reshape(2, 3)[:, 0] == pytest.approx([1, 1])
    assert ids.reshape(2, 3)[:, 0].tolist() == [1, 2]


def test_filters_select(acme: Client) -> None:
    def found(**parts: object) -> set:
        return {point.id for point in acme.scroll("papers", models.Filter(**parts))[0]}

    year = models.FieldCondition("year", range=models.Range(gte=2021))
    assert found(must=[year]) == {2}
    assert found(must_not=year) == {1, UUID}
    assert found(should=[year, models.FieldCondition("tags[]", match=models.MatchValue("b"))]) == {1, 2}
    assert found(must=[models.FieldCondition("year", match=models.MatchAny([2020, 1999]))]) == {1}
    assert found(must=[models.FieldCondition("year", match=models.MatchExcept([2020]))]) == {2}
    assert found(must=[models.IsEmptyCondition(models.PayloadField("year"))]) == {UUID}
    assert found(must=[models.HasIdCondition([2, UUID])]) == {2, UUID}
    assert found(must=[models.Filter(must=[models.HasIdCondition([1])])]) == {1}
    assert names(acme.query_points("papers", [1, 0, 0, 0], query_filter=models.Filter(must=[year])).points) == [2]
    assert acme.count("papers", models.Filter(must=[year])).count == 1


def test_scroll_gives_each_point_once(acme: Client) -> None:
    first, offset = acme.scroll("papers", limit=2)
    rest, end = acme.scroll("papers", limit=2, offset=offset)
    assert len(first) == 2 and len(rest) == 1 and end is None and len({*names(first), *names(rest)}) == 3


def test_payloads_change(acme: Client) -> None:
    acme.set_payload("papers", {"seen": True}, [1])
    assert acme.retrieve("papers", [1])[0].payload == {"year": 2020, "tags": ["a", "b"], "seen": True}
    acme.delete_payload("papers", ["tags"], [1])
    acme.overwrite_payload("papers", {"only": 1}, models.Filter(must=[models.HasIdCondition([2])]))
    assert [record.payload for record in acme.retrieve("papers", [1, 2])] == [{"year": 2020, "seen": True}, {"only": 1}]


def test_delete_by_id_and_by_filter(acme: Client) -> None:
    assert acme.delete("papers", [1]).count == 1
    assert acme.delete("papers", models.FilterSelector(models.Filter(must=[models.FieldCondition("year", range=models.Range(gt=0))]))).count == 1
    assert names(acme.scroll("papers")[0]) == [UUID]
    assert acme.delete("papers", models.PointIdsList([UUID])).count == 1
    assert acme.query_points("papers", [1, 0, 0, 0]).points == [] and acme.count("papers").count == 0


def test_a_large_batch_travels_as_one_blob(papers: Papers) -> None:
    client, count = papers("acme"), 5000
    vectors = np.random.default_rng(1).standard_normal((count, 4)).astype(np.float32)
    texts = [{"text": "x" * 1000}] * count  # more than gRPC's 4 MiB
    assert client.upsert("papers", models.Batch(np.arange(count), vectors, texts)).count == count
    assert client.count("papers").count == count
    assert client.query_points("papers", vectors[77], limit=1).points[0].id == 77


def test_arrays_of_shared_memory_are_sent_as_they_are(papers: Papers, running: Running) -> None:
    if running.system != "mrpc":
        pytest.skip("only the mesh has them")
    import mrpc

    vectors = mrpc.empty((20_000, 4), "float32")[:9_000]
    vectors[:] = np.random.default_rng(2).standard_normal(vectors.shape)
    client = papers("acme")
    client.upsert("papers", models.Batch(np.arange(9_000), vectors))
    assert client.query_points("papers", vectors[8_999], limit=1).points[0].id == 8_999


def test_granted_points_are_seen_until_they_are_revoked(acme: Client, papers: Papers) -> None:
    globex = papers("globex")
    assert globex.query_points("papers", [1, 0, 0, 0]).points == []
    assert acme.grant("papers", [1, UUID], to="globex").count == 2
    assert acme.grant("papers", [1, UUID], to="globex").count == 0, "granting twice is granting once"
    found = globex.query_points("papers", [1, 0, 0, 0]).points
    assert [(point.id, point.owner) for point in found] == [(1, "acme"), (UUID, "acme")]
    assert globex.retrieve("papers", [1, 2], owner="acme")[0].payload["year"] == 2020
    assert acme.revoke("papers", models.Filter(must=[models.HasIdCondition([1])]), to="globex").count == 1
    assert names(globex.scroll("papers")[0]) == [UUID]
    acme.delete("papers", [UUID])
    assert globex.count("papers").count == 0


def test_a_role_shows_to_its_members(acme: Client, papers: Papers) -> None:
    admin, globex = papers("admin"), papers("globex")
    admin.create_role("papers", "readers")
    acme.grant("papers", [2], to="readers")
    admin.add_member("papers", "readers", "globex")
    assert names(globex.query_points("papers", [0, 1, 0, 0]).points) == [2]
    admin.remove_member("papers", "readers", "globex")
    assert globex.count("papers").count == 0
    assert "readers*" in admin.tenants("papers")
    admin.delete_role("papers", "readers")
    assert "readers*" not in admin.tenants("papers")


def test_the_same_id_of_two_tenants_is_two_points(acme: Client, papers: Papers) -> None:
    globex = papers("globex")
    globex.upsert("papers", [models.PointStruct(1, [0, 0, 0, 1], {"mine": True})])
    acme.grant("papers", [1], to="globex")
    assert {(point.owner, point.id) for point in globex.scroll("papers")[0]} == {("globex", 1), ("acme", 1)}
    assert globex.delete("papers", [1]).count == 1
    assert acme.count("papers").count == 3


@pytest.mark.parametrize(("distance", "scores"), [("DOT", [3, 1]), ("EUCLID", [1, 3])])
def test_scores_are_those_that_qdrants_users_know(running: Running, distance: str, scores: list[float]) -> None:
    admin = running.client("admin")
    admin.create_collection("scores", models.VectorParams(1, models.Distance[distance], models.Datatype.FLOAT16))
    admin.upsert("scores", [models.PointStruct(1, [1]), models.PointStruct(2, [3])])
    query = [1] if distance == "DOT" else [0]
    assert [point.score for point in admin.query_points("scores", query).points] == pytest.approx(scores)
    assert admin.query_points("scores", query, score_threshold=2).points[0].score == (3 if distance == "DOT" else 1)
    described = admin.get_collection("scores")
    assert described.points_count == 2 and described.vectors.datatype is models.Datatype.FLOAT16
    assert admin.delete_collection("scores") and not admin.delete_collection("scores")
    assert not admin.collection_exists("scores")
