"""What the service refuses, with which status and reason, over both systems; and that nothing of it was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.vectordb import translate, transport
from apps.vectordb.client import Client, models, reason
from apps.vectordb.client.operations import finish
from apps.vectordb.database.errors import Invalid
from apps.vectordb.database.filters import parse
from apps.vectordb.database.predicates import compile_test

Papers = Callable[[str], Client]
PB = transport.load("mrpc").pb


def refused(call: Callable[..., Any], *given: Any, **named: Any) -> tuple[str, str]:
    """(status code, reason) of a call that must fail."""
    with pytest.raises(Exception) as caught:
        call(*given, **named)
    why = reason(caught.value)
    assert why is not None, caught.value
    return caught.value.code().name, why.name


def sent(client: Client, method: Any, request: Any) -> Any:
    """A message that the client itself would not make."""
    return finish(client._call(method, request))


@pytest.fixture
def acme(papers: Papers) -> Client:
    client = papers("acme")
    client.upsert("papers", [models.PointStruct(1, [1, 0, 0, 0]), models.PointStruct(2, [0, 1, 0, 0])])
    return client


INVALID = ("INVALID_ARGUMENT", "INVALID")
BAD_VECTORS = {
    "nan": [np.nan, 0, 0, 1],
    "infinity": [np.inf, 0, 0, 1],
    "zero under cosine": [0, 0, 0, 0],
    "too short": [1, 0, 0],
    "too long": [1, 0, 0, 0, 0],
    "empty": [],
    "too large": [1e20, 0, 0, 1],
}


@pytest.mark.parametrize("vector", BAD_VECTORS.values(), ids=BAD_VECTORS.keys())
def test_a_bad_vector(acme: Client, vector: list[float]) -> None:
    assert refused(acme.query_points, "papers", vector) == INVALID
    assert refused(acme.upsert, "papers", [models.PointStruct(4, vector)]) == INVALID
    assert acme.count("papers").count == 2


def test_one_bad_vector_of_a_batch_leaves_nothing_of_it(acme: Client) -> None:
    batch = models.Batch([3, 4], [[1, 0, 0, 0], [np.nan, 0, 0, 0]])
    assert refused(acme.upsert, "papers", batch) == INVALID
    assert acme.count("papers").count == 2


@pytest.mark.parametrize("k", [0, 10_001, 2**32 - 1])
def test_k_out_of_range(acme: Client, k: int) -> None:
    assert refused(acme.query_points, "papers", [1, 0, 0, 0], limit=k) == INVALID


def test_bytes_that_are_no_rows(acme: Client) -> None:
    for request in (PB.SearchRequest(collection="papers", k=1, vectors=b"xyz"),
                    PB.SearchRequest(collection="papers", k=1, queries=3, values=[1, 0, 0, 0]),
                    PB.SearchRequest(collection="papers", k=1, queries=2**32 - 1, values=[1, 0, 0, 0]),
                    PB.SearchRequest(collection="papers", k=1, vectors=bytes(16), dtype=2),
                    PB.SearchRequest(collection="papers", k=1, vectors=b"xyz", dtype=9)):
        assert refused(sent, acme, acme._points.Search, acme._pb.SearchRequest.FromString(request.SerializeToString())) == INVALID


@pytest.mark.parametrize("recall", [0, -1, 1.5, np.nan, np.inf])
def test_a_recall_out_of_range(acme: Client, recall: float) -> None:
    request = acme._pb.SearchRequest(collection="papers", k=1, values=[1, 0, 0, 0], recall=recall)
    assert refused(sent, acme, acme._points.Search, request) == INVALID


def test_ids_given_twice_or_not_at_all(acme: Client) -> None:
    assert refused(acme.upsert, "papers", models.Batch([3, 3], np.eye(2, 4))) == INVALID
    assert refused(acme.upsert, "papers", models.Batch([3], np.eye(2, 4))) == INVALID
    assert refused(acme.upsert, "papers", models.Batch(["no uuid"], np.eye(1, 4))) == INVALID
    with pytest.raises(ValueError, match="not negative"):
        acme.upsert("papers", models.Batch(np.array([-1]), np.eye(1, 4)))
    assert acme.upsert("papers", models.Batch([], [])).count == 0
    assert acme.count("papers").count == 2


def test_too_large_a_batch(acme: Client) -> None:
    assert refused(acme.upsert, "papers", models.Batch(np.arange(10_001), np.ones((10_001, 4)))) == INVALID
    assert refused(acme.search_columns, "papers", np.ones((1001, 4)), 1) == INVALID
    assert refused(acme.scroll, "papers", limit=10_001) == INVALID
    assert refused(acme.retrieve, "papers", range(10_001)) == INVALID


@pytest.mark.parametrize("payload", ["[1]", "no json", '{"a": 1', "[" * 5000, '{"a": NaN}'])
def test_a_payload_that_is_no_object(acme: Client, payload: str) -> None:
    points = acme._encoder.selection([1])
    change = acme._pb.SetPayloadRequest(collection="papers", points=points, payload=payload)
    assert refused(sent, acme, acme._points.SetPayload, change) == INVALID
    bad = acme._pb.UpsertRequest(collection="papers", ids=[9], values=[1, 0, 0, 0], payloads=[payload])
    assert refused(sent, acme, acme._points.Upsert, bad) == INVALID


def test_what_is_not_there(acme: Client) -> None:
    assert refused(acme.query_points, "nowhere", [1, 0, 0, 0]) == ("NOT_FOUND", "NOT_FOUND")
    assert refused(acme.grant, "papers", [77], to="globex") == ("NOT_FOUND", "NOT_FOUND")
    assert refused(acme.grant, "papers", [1], to="nobody") == ("NOT_FOUND", "NOT_FOUND")
    assert acme.retrieve("papers", [77]) == []


def test_an_unknown_tenant(papers: Papers) -> None:
    assert refused(papers("stranger").query_points, "papers", [1, 0, 0, 0]) == ("NOT_FOUND", "NOT_FOUND")
    assert refused(papers("stranger").upsert, "papers", [models.PointStruct(1, [1, 0, 0, 0])]) == ("NOT_FOUND", "NOT_FOUND")


def test_revoking_what_was_not_granted_changes_nothing(acme: Client) -> None:
    assert acme.revoke("papers", [1], to="globex").count == 0
    assert refused(acme.revoke, "papers", [77], to="globex") == ("NOT_FOUND", "NOT_FOUND")


def test_only_the_owner_changes_a_point(acme: Client, papers: Papers) -> None:
    globex, theirs = papers("globex"), models.PointIdsList([1])
    request = globex._pb.DeleteRequest(collection="papers", points=globex._encoder.selection(theirs, owner="acme"))
    assert refused(sent, globex, globex._points.Delete, request) == ("NOT_FOUND", "NOT_FOUND"), "it does not see the point"
    acme.grant("papers", [1], to="globex")
    assert refused(sent, globex, globex._points.Delete, request) == ("PERMISSION_DENIED", "DENIED")
    share = globex._pb.ShareRequest(collection="papers", points=globex._encoder.selection(theirs, owner="acme"), to="globex")
    assert refused(sent, globex, globex._points.Grant, share) == ("PERMISSION_DENIED", "DENIED")
    assert globex.delete("papers", models.Filter()).count == 0, "a filter takes from the tenant's own"
    assert acme.count("papers").count == 2


def test_hostile_filters(acme: Client) -> None:
    deep: Any = models.Filter(must=[models.HasIdCondition([1])])
    for _ in range(30):
        deep = models.Filter(must=[deep])
    wide = models.Filter(should=[models.FieldCondition("a", match=models.MatchValue(n)) for n in range(5000)])
    for bad in (deep, wide, models.Filter(must=[models.FieldCondition("a" * 10_000, match=models.MatchValue("x"))]),
                models.Filter(must=[models.FieldCondition("", match=models.MatchValue("x"))]),
                models.Filter(must=[models.FieldCondition("a", range=models.Range(gt=float("nan")))]),
                models.Filter(must=[models.FieldCondition("a", match=models.MatchText(""))])):
        assert refused(acme.query_points, "papers", [1, 0, 0, 0], query_filter=bad) == INVALID
        assert refused(acme.count, "papers", bad) == INVALID
    with pytest.raises(TypeError, match="no condition that this service knows"):
        acme.query_points("papers", [1, 0, 0, 0], query_filter=models.Filter(must=["1 == 1"]))
    nothing = acme._pb.Filter(must=[acme._pb.Condition(key="a")])
    assert refused(sent, acme, acme._points.Scroll, acme._pb.ScrollRequest(collection="papers", limit=1, filter=nothing)) == INVALID
    both = acme._pb.Selection(ids=[1], filter=acme._pb.Filter())
    assert refused(sent, acme, acme._points.Delete, acme._pb.DeleteRequest(collection="papers", points=both)) == INVALID


def test_a_cursor_that_was_made_up_or_is_anothers(acme: Client, papers: Papers) -> None:
    _, cursor = acme.scroll("papers", limit=1)
    papers("globex").upsert("papers", models.Batch([1, 2], np.eye(2, 4)))
    assert refused(acme.scroll, "papers", limit=1, offset="0" * 32) == INVALID
    assert refused(papers("globex").scroll, "papers", limit=1, offset=cursor) == INVALID


def test_a_quota_refuses_the_whole_batch(papers: Papers) -> None:
    admin, acme = papers("admin"), papers("acme")
    admin.set_quota("papers", "acme", vectors=3)
    acme.upsert("papers", models.Batch([1, 2], np.eye(2, 4)))
    assert refused(acme.upsert, "papers", models.Batch([2, 3, 4], np.eye(3, 4))) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert acme.count("papers").count == 2
    admin.set_quota("papers", "acme", queries_per_s=0.001, burst=1)
    acme.count("papers")
    with pytest.raises(Exception) as caught:
        acme.count("papers")
    assert float(reason(caught.value).figures["retry_after_s"]) > 100
    admin.set_quota("papers", "acme")
    assert acme.count("papers").count == 2 and papers("admin").usage("papers", "acme").refused >= 1


@pytest.mark.parametrize("config", [
    {"dim": 0}, {"dim": 2**31}, {"dim": 4, "collection": ""}, {"dim": 4, "collection": "a\nb"}, {"dim": 4, "recall": 2.0},
    {"dim": 4, "metric": 9}, {"dim": 4, "dtype": 9}])
def test_a_collection_that_cannot_be(running, config: dict[str, Any]) -> None:
    admin = running.client("admin")
    request = admin._pb.CollectionConfig(**{"collection": "bad"} | config)
    assert refused(sent, admin, admin._collections.Create, request) == INVALID
    assert not admin.collection_exists("bad")


keys = st.text(max_size=4) | st.just("a")
places = st.builds(lambda lon, lat: PB.GeoPoint(lon=lon, lat=lat), st.floats(-90, 90) | st.floats(), st.floats(-90, 90) | st.floats())
rings = st.builds(lambda points, closed: PB.GeoRing(points=points + points[:closed]), st.lists(places, max_size=5), st.integers(0, 1))
filters = st.deferred(lambda: st.builds(lambda must, some, count: PB.Filter(must=must, min_should=PB.MinShould(conditions=some, min_count=count)),
                                        st.lists(conditions, max_size=2), st.lists(conditions, max_size=2), st.integers(0, 2**32 - 1)))
tests = st.one_of(
    st.builds(lambda text: {"datetime_range": PB.DatetimeRange(gt=text)}, st.text(max_size=4) | st.just("2026-01-01")),
    st.just({"datetime_range": PB.DatetimeRange()}), st.builds(lambda count: {"values_count": PB.ValuesCount(lt=count)}, st.integers(0, 2**64 - 1)),
    st.builds(lambda center, radius: {"geo_radius": PB.GeoRadius(center=center, radius=radius)}, places, st.floats()),
    st.builds(lambda corner, other: {"geo_bounding_box": PB.GeoBoundingBox(top_left=corner, bottom_right=other)}, places, places),
    st.builds(lambda ring, holes: {"geo_polygon": PB.GeoPolygon(exterior=ring, interiors=holes)}, rings, st.lists(rings, max_size=2)),
    st.builds(lambda inner: {"nested": inner}, filters), st.builds(lambda inner: {"filter": inner}, filters))
conditions = st.deferred(lambda: st.one_of(
    st.builds(lambda key, value: PB.Condition(key=key, match=PB.Match(**value)), st.text(max_size=4), st.one_of(
        st.fixed_dictionaries({"keyword": st.text(max_size=4)}), st.fixed_dictionaries({"integer": st.integers(-2**63, 2**63 - 1)}),
        st.fixed_dictionaries({"any": st.builds(lambda k: PB.Values(keywords=k), st.lists(st.text(max_size=3), max_size=3))}), st.just({}))),
    st.builds(lambda key, low: PB.Condition(key=key, range=PB.Range(gt=low)), st.text(max_size=4), st.floats()),
    st.builds(lambda key: PB.Condition(key=key, is_null=True), st.text(max_size=4)),
    st.builds(lambda ids, owner: PB.Condition(has_id=PB.Selection(ids=ids, uuids=["x"], owner=owner)),
              st.lists(st.integers(0, 2**64 - 1)), st.text()),
    st.just(PB.Condition()), st.builds(lambda key, test: PB.Condition(key=key, **test), keys, tests),
    st.builds(lambda inner: PB.Condition(filter=PB.Filter(must=inner, should=inner)), st.lists(conditions, max_size=2))))


@given(st.lists(conditions, max_size=4))
def test_any_filter_is_taken_or_invalid(parts: list[Any]) -> None:
    try:
        wanted = parse(translate.filter_of(PB.Filter(must=parts, must_not=parts)))
    except Invalid as error:
        assert str(error)
    else:
        payload = {"a": [{"a": 1, "lon": 1, "lat": 1}, "2026-01-01"]}
        assert wanted is not None and not compile_test(wanted, lambda ids: set())(0, payload) or not parts
