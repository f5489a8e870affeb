"""Sparse vectors and fused searches over the wire: what arrives, what is refused, and that another tenant's points change no score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.vectordb.client import Client, models
from tests.apps.vectordb.service.conftest import Running
from tests.apps.vectordb.service.test_service_bad_input import INVALID, refused, sent

Papers = Callable[[str], Client]
BOTH = models.FusionQuery(models.Fusion.RRF)


def sparse(**terms: float) -> models.SparseVector:
    """Of one term for each letter."""
    return models.SparseVector([ord(letter) for letter in terms], list(terms.values()))


@pytest.fixture
def papers(running: Running) -> Iterator[Papers]:
    admin = running.client("admin")
    admin.create_collection("papers", models.VectorParams(2, models.Distance.COSINE),
                            {"text": models.SparseVectorParams(models.Modifier.BM25), "idf": models.SparseVectorParams(models.Modifier.IDF)})
    for tenant in ("acme", "globex"):
        admin.create_tenant("papers", tenant)
    running.client("acme").upsert("papers", [
        models.PointStruct(1, {"": [1, 0], "text": sparse(a=1, b=2)}), models.PointStruct(2, {"": [0, 1], "text": sparse(b=1)}, {"n": 2}),
        models.PointStruct(3, [1, 1])])
    yield running.client
    admin.delete_collection("papers")


def found(client: Client, query: Any, **how: Any) -> list[tuple[str, Any, float]]:
    return [(hit.owner, hit.id, hit.score) for hit in client.query_points("papers", query, **how).points]


def prefetch() -> list[models.Prefetch]:
    return [models.Prefetch([1, 0], limit=2), models.Prefetch(sparse(b=1), using="text", limit=5)]


def test_searches(papers: Papers) -> None:
    acme = papers("acme")
    assert [id for _, id, _ in found(acme, sparse(b=1), using="text")] == [2, 1]
    assert [id for _, id, _ in found(acme, sparse(a=1), using="text")] == [1]
    assert found(acme, BOTH, prefetch=prefetch())[0][1:] == (1, pytest.approx(1 / 2 + 1 / 3))
    hit, = acme.query_points("papers", sparse(a=1), using="text", with_vectors=True).points
    assert hit.vector["text"] == sparse(a=1, b=2) and hit.vector[""].tolist() == [1, 0]
    few = models.Filter(must=[models.FieldCondition("n", models.MatchValue(2))])
    assert [id for _, id, _ in found(acme, BOTH, prefetch=prefetch(), query_filter=few)] == [2]


def test_tenants_are_apart_in_results_and_scores(papers: Papers) -> None:
    acme, globex = papers("acme"), papers("globex")
    before = found(acme, sparse(b=1), using="text"), found(acme, BOTH, prefetch=prefetch())
    assert found(globex, sparse(b=1), using="text") == found(globex, BOTH, prefetch=prefetch()) == []
    globex.upsert("papers", [models.PointStruct(id, {"": [1, id], "text": sparse(b=id + 1)}) for id in range(50)])
    assert (found(acme, sparse(b=1), using="text"), found(acme, BOTH, prefetch=prefetch())) == before
    globex.grant("papers", [7], to="acme")
    assert ("globex", 7) in {hit[:2] for hit in found(acme, sparse(b=1), using="text")}
    globex.revoke("papers", [7], to="acme")
    assert (found(acme, sparse(b=1), using="text"), found(acme, BOTH, prefetch=prefetch())) == before


def test_an_export_has_them(papers: Papers) -> None:
    admin, acme = papers("admin"), papers("acme")
    before = found(acme, sparse(b=1), using="text")
    assert admin.import_tenant("papers", list(acme.export_tenant("papers")), "again") == 3
    assert [hit[1:] for hit in found(papers("again"), sparse(b=1), using="text")] == [hit[1:] for hit in before]


def test_messages_that_do_not_add_up(papers: Papers) -> None:
    acme = papers("acme")
    pb = acme._pb
    one = pb.SparseVectors(name="text", sizes=[1], indices=[98], values=[1])

    def refuses(method: Any, request: Any) -> bool:
        return refused(sent, acme, method, request) == INVALID

    for wrong in ({"sizes": [2]}, {"sizes": [1, 1]}, {"sizes": []}, {"values": []}, {"indices": [98, 99]}, {"name": ""}):
        query = pb.SparseVectors(**{"name": "text", "sizes": [1], "indices": [98], "values": [1], **wrong})
        assert refuses(acme._points.Search, pb.SearchRequest(collection="papers", k=3, sparse=query))
        assert refuses(acme._points.Fuse, pb.FuseRequest(collection="papers", queries=1, k=3, searches=[pb.SearchRequest(k=3, sparse=query)]))
        assert refuses(acme._points.Upsert, pb.UpsertRequest(collection="papers", ids=[9], values=[1, 0], sparse=[query]))
    assert refuses(acme._points.Search, pb.SearchRequest(collection="papers", k=3, sparse=one, values=[1, 0]))
    assert refuses(acme._points.Upsert, pb.UpsertRequest(collection="papers", ids=[9], values=[1, 0], sparse=[one, one]))
    search = pb.SearchRequest(k=3, sparse=one)
    for wrong in ({"queries": 2}, {"k": 2}, {"k": 4}, {"searches": []}, {"searches": [search, search]}, {"fusion": 9}, {"weights": [1, 1]},
                  {"searches": [pb.SearchRequest(collection="d", k=3, sparse=one)]},
                  {"searches": [pb.SearchRequest(k=3, values=[1, 0, 1, 0], queries=2)]},
                  {"filter": pb.Filter(must=[pb.Condition()])}, {"limit": 10_001}):
        assert refuses(acme._points.Fuse, pb.FuseRequest(**{"collection": "papers", "queries": 1, "k": 3, "searches": [search], **wrong})), wrong
    assert acme.count("papers").count == 3


def test_a_collection_with_settings_that_are_none(papers: Papers) -> None:
    admin = papers("admin")
    pb = admin._pb
    for wrong in ([pb.SparseParams(name="text"), pb.SparseParams(name="text")], [pb.SparseParams(name="text", modifier=7)],
                  [pb.SparseParams(name="text", modifier=2, b=2)], [pb.SparseParams()]):
        request = pb.CollectionConfig(collection="other", dim=2, sparse=wrong)
        assert refused(sent, admin, admin._collections.Create, request) == INVALID
