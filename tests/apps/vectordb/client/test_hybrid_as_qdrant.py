"""Sparse vectors and fused searches, at our client and at qdrant_client's local mode: the same program, the same answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import qdrant_client
from qdrant_client import models as their_models

from apps.vectordb.client import Client, exceptions, models

WORDS = range(1, 30)
COUNT = 80


def filled(client: Any, models: Any) -> Any:
    rng = random.Random(0)
    client.create_collection("c", models.VectorParams(size=3, distance=models.Distance.COSINE),
                             {"text": models.SparseVectorParams(modifier=models.Modifier.IDF), "plain": models.SparseVectorParams()})
    def vector() -> Any:
        words = rng.sample(WORDS, rng.randint(1, 6))
        return models.SparseVector(indices=words, values=[round(rng.uniform(0.1, 2), 3) for _ in words])

    points = []
    for id in range(COUNT):
        vectors = {"": [rng.random() for _ in range(3)], **{name: vector() for name in ("text", "plain") if rng.random() < 0.9}}
        points.append(models.PointStruct(id=id, vector=vectors, payload={"n": id}))
    client.upsert("c", points)
    client.delete("c", list(range(10, 20)))
    client.update_vectors("c", [models.PointVectors(id=id, vector={"": [1, id, 0], "text": vector()}) for id in range(5)])
    return client


@pytest.fixture(scope="module")
def both() -> Iterator[list[tuple[Any, Any]]]:
    theirs = qdrant_client.QdrantClient(":memory:")
    with Client(":memory:") as ours:
        yield [(filled(ours, models), models), (filled(theirs, their_models), their_models), (ours, their_models)]
    theirs.close()


def sparse(models: Any, seed: int) -> Any:
    rng = random.Random(seed)
    words = rng.sample(WORDS, rng.randint(1, 5))
    return models.SparseVector(indices=words, values=[rng.uniform(0.1, 2) for _ in words])


def answers(client: Any, **how: Any) -> dict[int, float]:
    return {hit.id: hit.score for hit in client.query_points("c", limit=how.pop("limit", 100), **how).points}


def same(both: list[tuple[Any, Any]], ask: Any) -> None:
    """Ids with scores; points whose scores are equal may stand in any order, of which a limit takes any."""
    ours, theirs, with_theirs = (ask(client, models) for client, models in both)
    assert ours == with_theirs and theirs
    assert list(ours.values()) == pytest.approx(list(theirs.values()), abs=1e-5)
    least = min(theirs.values()) + 1e-5
    assert {id for id, score in ours.items() if score > least} == {id for id, score in theirs.items() if score > least}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("using", ["text", "plain"])
def test_a_sparse_search(both: list[tuple[Any, Any]], seed: int, using: str) -> None:
    same(both, lambda client, models: answers(client, query=sparse(models, seed), using=using))
    same(both, lambda client, models: answers(client, query=models.NearestQuery(nearest=sparse(models, seed)), using=using, limit=3))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("query", [
    lambda models: models.FusionQuery(fusion=models.Fusion.RRF), lambda models: models.FusionQuery(fusion=models.Fusion.DBSF),
    lambda models: models.RrfQuery(rrf=models.Rrf(k=60, weights=[1.0, 0.5, 2.0])), lambda models: models.RrfQuery(rrf=models.Rrf())],
    ids=["rrf", "dbsf", "weights", "no settings"])
def test_fusion(both: list[tuple[Any, Any]], seed: int, query: Any) -> None:
    def ask(client: Any, models: Any, **how: Any) -> dict[int, float]:
        few = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=60))])
        prefetch = [models.Prefetch(query=[1.0, seed, 0.5], limit=100),
                    models.Prefetch(query=sparse(models, seed), using="text", limit=20, filter=few),
                    models.Prefetch(query=sparse(models, seed + 9), using="plain", limit=100, score_threshold=0.3)]
        return answers(client, prefetch=prefetch, query=query(models), **how)

    same(both, ask)
    same(both, lambda client, models: ask(client, models, query_filter=models.Filter(
        must_not=[models.FieldCondition(key="n", range=models.Range(gte=30, lt=40))])))


def test_pages_and_batches(both: list[tuple[Any, Any]]) -> None:
    def prefetch(models: Any) -> Any:
        return [models.Prefetch(query=[1.0, 0.0, 0.5], limit=50), models.Prefetch(query=sparse(models, 3), using="text", limit=50)]

    for client, kind in both:
        fusion = kind.FusionQuery(fusion=kind.Fusion.RRF)
        whole = list(answers(client, prefetch=prefetch(kind), query=fusion, limit=20))
        assert list(answers(client, prefetch=prefetch(kind), query=fusion, limit=5, offset=10)) == whole[10:15]
        requests = [kind.QueryRequest(query=fusion, prefetch=prefetch(kind), limit=20), kind.QueryRequest(query=[1.0, 0.0, 0.0], limit=4),
                    kind.QueryRequest(query=sparse(kind, 3), using="text", limit=7)]
        found = [[hit.id for hit in each.points] for each in client.query_batch_points("c", requests)]
        alone = answers(client, query=[1.0, 0.0, 0.0], limit=4), answers(client, query=sparse(kind, 3), using="text", limit=7)
        assert found == [whole, *map(list, alone)]


def test_vectors_come_back(both: list[tuple[Any, Any]]) -> None:
    def shown(point: Any) -> Any:
        if not isinstance(point.vector, dict):
            return {"": list(point.vector)}
        return {name: list(vector) if name == "" else dict(zip(vector.indices, vector.values, strict=True)) for name, vector in point.vector.items()}

    ours, theirs = both[:2]
    for read in (lambda client, models: client.retrieve("c", list(range(COUNT)), with_vectors=True),
                 lambda client, models: client.query_points("c", sparse(models, 1), using="text", with_vectors=True, limit=100).points,
                 lambda client, models: client.scroll("c", limit=100, with_vectors=True)[0]):
        mine, other = ({point.id: shown(point) for point in read(*each)} for each in (ours, theirs))
        assert mine.keys() == other.keys()
        for id, vectors in mine.items():
            assert vectors.keys() == other[id].keys()
            for name, vector in vectors.items():
                assert vector == pytest.approx(other[id][name], abs=1e-6)


def test_columns_are_taken_too() -> None:
    with Client(":memory:") as client:
        client.create_collection("c", models.VectorParams(2, models.Distance.DOT), {"text": models.SparseVectorParams(models.Modifier.BM25, b=0.5)})
        client.upsert("c", models.Batch([1, 2], {"": [[1, 0], [0, 1]], "text": [None, models.SparseVector([5], [2.0])]}))
        assert list(answers(client, query=models.SparseVector([5], [1.0]), using="text")) == [2]
        client.upload_collection("c", {"": [[1, 1]] * 3, "text": [models.SparseVector([6], [1.0])] * 3}, ids=[7, 8, 9], batch_size=2)
        assert sorted(answers(client, query=models.SparseVector([6], [1.0]), using="text")) == [7, 8, 9]
        config = client.get_collection("c").config.params.sparse_vectors
        assert config == {"text": models.SparseVectorParams(models.Modifier.BM25, pytest.approx(1.2), 0.5)}


@pytest.mark.parametrize("ask", [
    lambda c: c.query_points("c", sparse(models, 1), using="texts"),
    lambda c: c.query_points("c", sparse(models, 1)),
    lambda c: c.query_points("c", models.SparseVector([1, 1], [1, 2]), using="text"),
    lambda c: c.query_points("c", models.SparseVector([1], [float("nan")]), using="text"),
    lambda c: c.upsert("c", [models.PointStruct(1, {"": [1, 2, 3], "texts": sparse(models, 1)})]),
    lambda c: c.query_points("c", models.FusionQuery(models.Fusion.RRF), prefetch=[models.Prefetch([1, 2, 3])] * 17),
    lambda c: c.query_points("c", models.RrfQuery(models.Rrf(weights=[1.0])), prefetch=[models.Prefetch([1, 2, 3])] * 2),
], ids=["an unknown name", "no name", "a term twice", "not a number", "an unknown name in a point", "too many searches", "too few weights"])
def test_the_service_refuses(both: list[tuple[Any, Any]], ask: Any) -> None:
    with pytest.raises(exceptions.UnexpectedResponse) as refused:
        ask(both[0][0])
    assert refused.value.status_code == 400


@pytest.mark.parametrize("ask", [
    lambda c: c.query_points("c", [1, 0, 0], using="text"),
    lambda c: c.query_points("c", models.SparseVector([1, 2], [1]), using="text"),
    lambda c: c.query_points("c", models.SparseVector([2**32], [1]), using="text"),
    lambda c: c.query_points("c", models.FusionQuery(models.Fusion.RRF)),
    lambda c: c.query_points("c", [1, 0, 0], prefetch=[models.Prefetch([1, 2, 3])]),
    lambda c: c.query_points("c", models.FusionQuery("mean"), prefetch=[models.Prefetch([1, 2, 3])]),
    lambda c: c.query_points("c", models.FusionQuery(models.Fusion.RRF), prefetch=their_models.Prefetch(prefetch=[], query=[1, 2, 3], lookup_from={
        "collection": "d"})),
    lambda c: c.upsert("c", [models.PointStruct(1, {"text": sparse(models, 1)})]),
    lambda c: c.upsert("c", [models.PointStruct(1, {"": [1, 2, 3], "text": [1, 2, 3]})]),
    lambda c: c.create_collection("d", models.VectorParams(2, models.Distance.DOT), {"text": models.SparseVectorParams("tfidf")}),
], ids=["numbers by a sparse name", "lengths that differ", "a term over 32 bits", "fusion of nothing", "prefetch without fusion", "an unknown fusion",
        "prefetch elsewhere", "no dense vector", "a dense vector by a sparse name", "an unknown modifier"])
def test_the_client_refuses(both: list[tuple[Any, Any]], ask: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ask(both[0][0])
