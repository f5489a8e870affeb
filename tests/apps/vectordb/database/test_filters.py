"""Filters: what they mean, that columns and scan agree, and hostile ones."""
from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from apps.vectordb.database import Collection, Filter, Invalid, Point, Points, filters
from apps.vectordb.database import namespace as namespaces
from apps.vectordb.database.namespace import Namespace

PAYLOADS = [
    {"city": "Oslo", "price": 5, "tags": ["a", "b"], "owner": {"name": "x", "age": 3}, "at": {"lon": 10.75, "lat": 59.91}},
    {"city": "Bergen", "price": 7.5, "tags": [], "lines": [{"sku": 1, "n": 9}, {"sku": 2}], "at": [{"lon": 5.32, "lat": 60.39}]},
    {"city": None, "price": True, "tags": None, "made": "2026-01-31T23:30:00-01:00", "first name": "Ada"},
    {"price": "5", "lines": [{"sku": 3, "n": 1}, 4], "made": ["soon", "2026-01-31"], "at": {"lon": "x", "lat": 1}},
    {},
]


@pytest.fixture
def shop(papers: Collection) -> Collection:
    papers.upsert("acme", Points(range(5), np.zeros((5, 2)), PAYLOADS))
    return papers


@pytest.mark.parametrize(("condition", "ids"), [
    ({"key": "city", "match": {"value": "Oslo"}}, [0]),
    ({"key": "city", "match": {"any": ["Oslo", "Bergen", "Rome"]}}, [0, 1]),
    ({"key": "city", "match": {"except": ["Oslo"]}}, [1]),
    ({"key": "city", "match": {"substring": "er"}}, [1]),
    ({"key": "city", "match": {"prefix": "B"}}, [1]),
    ({"key": "city", "match": {"text": "er"}}, []),
    ({"key": "city", "match": {"text": "oslo"}}, [0]),
    ({"key": "city", "match": {"text_any": "bergen, rome"}}, [1]),
    ({"key": "made", "match": {"phrase": "01 31"}}, [3]),
    ({"key": "made", "range": {"gte": "2026-02-01T00:00:00Z"}}, [2]),
    ({"key": "made", "range": {"lt": "2026-02-01"}}, [3]),
    ({"key": "at", "geo_radius": {"center": {"lon": 10.7, "lat": 59.9}, "radius": 10_000}}, [0]),
    ({"key": "at", "geo_bounding_box": {"top_left": {"lon": 5, "lat": 61}, "bottom_right": {"lon": 11, "lat": 60}}}, [1]),
    ({"key": "at", "geo_polygon": {"exterior": {"points": [
        {"lon": 0, "lat": 50}, {"lon": 20, "lat": 50}, {"lon": 20, "lat": 70}, {"lon": 0, "lat": 70}, {"lon": 0, "lat": 50}]},
        "interiors": [{"points": [{"lon": 5, "lat": 60}, {"lon": 6, "lat": 60}, {"lon": 6, "lat": 61}, {"lon": 5, "lat": 60}]}]}}, [0, 1]),
    ({"key": "tags", "values_count": {"gte": 1}}, [0]),
    ({"key": "tags", "values_count": {"lt": 1}}, [1, 2, 3, 4]),
    ({"key": "tags", "is_empty": False}, [0]),
    ({"nested": {"key": "lines", "filter": {"must": [{"key": "sku", "range": {"gt": 1}}, {"key": "n", "range": {"gt": 0}}]}}}, [3]),
    ({"nested": {"key": "lines[]", "filter": {"must": [{"key": "sku", "match": {"value": 1}}, {"key": "n", "match": {"value": 9}}]}}}, [1]),
    ({"min_should": {"min_count": 2, "conditions": [
        {"key": "price", "range": {"gt": 4}}, {"key": "city", "match": {"value": "Oslo"}}, {"is_null": {"key": "city"}}]}}, [0]),
    ({"min_should": {"min_count": 10**9, "conditions": [{"key": "price", "range": {"gt": -1e308}}] * 2}}, []),
    ({"key": "made", "range": {"gte": "0001-01-01", "lt": "9999-12-31T23:59:59.999999Z"}}, [2, 3]),
    ({"key": "first name", "match": {"value": "Ada"}}, [2]),
    ({"key": '"first name"', "match": {"value": "Ada"}}, [2]),
    ({"key": "lines[1].sku", "match": {"value": 2}}, [1]),
    ({"key": "price", "match": {"value": 5}}, [0]),
    ({"key": "price", "match": {"value": 5.0}}, [0]),
    ({"key": "price", "match": {"value": True}}, [2]),
    ({"key": "price", "match": {"value": 1}}, []),
    ({"key": "price", "match": {"value": "5"}}, [3]),
    ({"key": "price", "range": {"gte": 5, "lt": 7.5}}, [0]),
    ({"key": "price", "range": {"gt": 5}}, [1]),
    ({"key": "price", "range": {"gt": 9, "lt": 2}}, []),
    ({"key": "tags", "match": {"value": "b"}}, [0]),
    ({"key": "tags[]", "match": {"value": "b"}}, [0]),
    ({"key": "owner.name", "match": {"value": "x"}}, [0]),
    ({"key": "owner", "match": {"value": "x"}}, []),
    ({"key": "lines[].sku", "range": {"gte": 2}}, [1, 3]),
    ({"key": "lines.sku", "match": {"value": 1}}, []),
    ({"is_empty": {"key": "tags"}}, [1, 2, 3, 4]),
    ({"is_null": {"key": "tags"}}, [2]),
    ({"has_id": [1, 4, 99, ["acme", 2], ["bolt", 0]]}, [1, 2, 4]),
    ({"must_not": [{"is_empty": {"key": "city"}}]}, [0, 1]),
    ({"should": [{"key": "city", "match": {"value": "Oslo"}}, {"is_null": {"key": "city"}}]}, [0, 2]),
    ({"must": []}, [0, 1, 2, 3, 4]),
], ids=json.dumps)
@pytest.mark.parametrize("scan_max", [0, 256], ids=["columns", "scan"])
def test_what_a_condition_takes(shop: Collection, condition: dict, ids: list[int], scan_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "SCAN_MAX", scan_max)
    wanted = {"must": [condition]}
    assert [record.id for record in shop.scroll("acme", wanted).records] == ids
    assert sorted(shop.search("acme", [0, 0], 9, wanted).ids) == ids
    assert shop.count("acme", json.dumps(wanted)) == len(ids)


def test_a_filter_is_for_what_the_tenant_sees(shop: Collection) -> None:
    shop.upsert("bolt", [Point(0, [0, 0], {"city": "Oslo"})])
    shop.grant("acme", [1], to="bolt")
    assert shop.count("bolt", {"must": [{"key": "city", "match": {"any": ["Oslo", "Bergen"]}}]}) == 2
    assert shop.count("bolt", {"must": [{"has_id": [0, 1, ["acme", 0], ["acme", 1]]}]}) == 2


def test_changes_take_points_of_ones_own_by_filter(shop: Collection) -> None:
    shop.upsert("bolt", [Point(0, [0, 0], {"city": "Oslo"})])
    shop.grant("bolt", [0], to="acme")
    oslo = {"must": [{"key": "city", "match": {"value": "Oslo"}}]}
    assert shop.grant("acme", oslo, to="cove") == 1
    assert shop.set_payload("acme", oslo, {"seen": 1}) == 1
    assert shop.delete("acme", Filter.model_validate(oslo)) == 1
    assert shop.count("acme", oslo) == 1  # bolt's


def test_written_points_are_found_before_and_after_columns_are_built(papers: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "SCAN_MAX", 10)
    red = {"must": [{"key": "colour", "match": {"value": "red"}}]}
    papers.upsert("acme", [Point(i, [i, 0], {"colour": "red" if i % 2 else "blue"}) for i in range(100)])
    assert papers.count("acme", red) == 50
    papers.set_payload("acme", [0], {"colour": "red"})
    papers.set_payload("acme", [1], {"colour": "blue"})
    papers.delete("acme", [3])
    papers.upsert("acme", [Point(200, [0, 0], {"colour": "red"})])
    assert papers.count("acme", red) == 50
    for round_ in range(60):  # until the columns are built anew, and let go
        papers.set_payload("acme", range(4, 90), {"colour": "red" if round_ % 2 else "blue"})
        assert papers.count("acme", red) == len(range(4, 90)) * (round_ % 2) + 7


SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, -2, 2**63, 10**400, 0.5, "", "a", "ab"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2), max_leaves=4)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
KEYS = st.sampled_from(["a", "b", "a.b", "a[]", "a[].b", "b.a[]", "c", "a[0]", '"a"'])
MATCHED = st.sampled_from([True, False, 0, 1, -2, 0.5, "", "a", 2**63])
LEAVES = st.one_of(
    st.builds(lambda key, value: {"key": key, "match": {"value": value}}, KEYS, MATCHED),
    st.builds(lambda key, kind, values: {"key": key, "match": {kind: values}}, KEYS, st.sampled_from(["any", "except"]),
              st.lists(MATCHED, max_size=3)),
    st.builds(lambda key, kind: {"key": key, "match": {kind: "a"}}, KEYS, st.sampled_from(["text", "phrase", "substring"])),
    st.builds(lambda key, count: {"key": key, "values_count": {"gt": count}}, KEYS, st.integers(-1, 2)),
    st.builds(lambda key: {"key": key, "range": {"gt": "2026-01-01"}}, KEYS),
    st.builds(lambda key, bounds: {"key": key, "range": bounds}, KEYS,
              st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from([-2, 0, 0.5, 1, 1e300]), min_size=1)),
    st.builds(lambda key, kind: {kind: {"key": key}}, KEYS, st.sampled_from(["is_empty", "is_null"])),
    st.builds(lambda ids: {"has_id": ids}, st.lists(st.integers(0, 5), max_size=3)))
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(
    st.sampled_from(["must", "should", "must_not"]), st.lists(inner, max_size=3), max_size=3)
    | st.builds(lambda conditions, count: {"min_should": {"conditions": conditions, "min_count": count}},
                st.lists(inner, max_size=3), st.integers(1, 2)),
    max_leaves=6)


@settings(max_examples=300)
@given(st.lists(OBJECTS, min_size=1, max_size=6), TREES, st.lists(st.tuples(st.integers(0, 5), OBJECTS), max_size=3))
def test_columns_and_scan_agree(objects: list[dict], tree: dict, changes: list[tuple[int, dict]]) -> None:
    """Also for rows that were written after the columns were built."""
    namespace = Namespace(1)
    namespace.add(range(len(objects)), [json.dumps(each).encode() for each in objects])
    rows, wanted = BitMap(range(len(objects))), filters.parse({"must": [tree]})

    def ask(scan_max: int) -> list[int]:
        namespaces.SCAN_MAX = scan_max
        try:
            return list(namespace.matching(wanted, rows, lambda condition: list(condition.has_id)))
        finally:
            namespaces.SCAN_MAX = 256

    assert ask(0) == ask(256)
    for row, payload in changes:
        if row < len(objects):
            namespace.replace([row], [json.dumps(payload).encode()])
        assert ask(0) == ask(256)


def test_no_more_columns_are_kept_than_fit(papers: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "SCAN_MAX", 0)
    monkeypatch.setattr(namespaces, "COLUMNS_MAX", 3)
    papers.upsert("acme", Points(range(3), np.zeros((3, 2)), [{"k0": 1}, {"k1": 1}, {}]))
    every = {"should": [{"key": f"k{n}", "match": {"value": 1}} for n in range(9)]}
    assert [papers.count("acme", {"must": [each]}) for each in every["should"]] == [1, 1, 0, 0, 0, 0, 0, 0, 0] and papers.count("acme", every) == 2
    assert all(len(each.warm().columns) <= 3 for each in papers._contents.namespaces.values())


def test_a_complaint_says_where_and_what(papers: Collection) -> None:
    for raw, where in (({"must": [{"key": "a", "range": {"gt": "soon"}}]}, "'soon' is no time"),
                       ({"must": [{"key": "a..b", "is_empty": True}]}, "is no path"),
                       ({"must": [{"nested": {"key": "a", "filter": {"must": [{"has_id": [1]}]}}}]}, "put it beside the nested filter")):
        with pytest.raises(Invalid, match=where):
            papers.count("acme", raw)


NAMES = ["must", "should", "must_not", "min_should", "key", "match", "value", "any", "range", "gt", "has_id", "is_empty", "nested", "filter",
         "geo_radius", "x"]


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"must": [tree]}
    return tree


@pytest.mark.parametrize("hostile", [
    nested(50), "[" * 100_000, '{"must":' * 50_000, {"must": [{"key": "a", "match": {"any": list(range(5000))}}]},
    {"must": [{"has_id": ["x" * 5000]}]}, {"must": [{"key": "", "match": {"value": 1}}]},
    {"must": [{"key": "a"}]}, {"must": [{"key": "a", "match": {}}]}, {"must": [{"key": "a", "match": {"value": 1, "any": [2]}}]},
    {"must": [{"key": "a", "range": {"lt": "x"}}]}, {"must": [{"key": "a", "range": {"lt": float("nan")}}]},
    {"drop": "table"}, {"must": "x"}, [], 7, b"\xff", "null x", {"must": [{"has_id": [-1]}]}, {"must": [{"has_id": [{}]}]},
    {"must": [{"key": "a", "match": {"text": ""}}]}, {"must": [{"key": "a.", "is_empty": True}]}, {"must": [{"key": "a[x]", "is_null": True}]},
    {"must": [{"key": "[]" * 9, "is_null": True}]}, {"must": [{"key": "a", "range": {"gt": "soon"}}]},
    {"must": [{"key": "a", "range": {"gt": True}}]},
    {"must": [{"key": "a", "values_count": {"gt": 2**64}}]},
    {"must": [{"key": "a", "range": {"gt": 1, "lt": "2026-01-01"}}]}, {"must": [{"key": "a", "values_count": {"gt": 0.5}}]},
    {"must": [{"key": "a", "geo_radius": {"center": {"lon": 181, "lat": 0}, "radius": 1}}]},
    {"must": [{"key": "a", "geo_radius": {"center": {"lon": 0, "lat": 0}, "radius": -1}}]},
    {"must": [{"key": "a", "geo_polygon": {"exterior": {"points": [{"lon": 0, "lat": 0}] * 3}}}]},
    {"must": [{"key": "a", "geo_polygon": {"exterior": {"points": [{"lon": 0, "lat": 0}] * 1001}}}]},
    {"must": [{"key": "a", "geo_polygon": {"exterior": {"points": [{"lon": i, "lat": 0} for i in range(5)]}}}]},
    {"must": [{"nested": {"key": "a", "filter": {"should": [{"must": [{"has_id": [1]}]}]}}}]}, {"must": [{"nested": {"key": "a"}}]},
    {"must": [{"key": f"k{n}", "is_null": True} for n in range(65)]},
    {"must": [{"nested": {"key": "a", "filter": {"must": [{"key": f"k{n}", "is_null": True} for n in range(65)]}}}]},
    {"min_should": {"conditions": [], "min_count": 0}}, {"must": [{"has_vector": ""}]}, {"must": [{"key": "a", "is_empty": 1}]},
    r'{"must": [{"key": "a", "match": {"value": "\ud800"}}]}', r'{"must": [{"has_id": [["\ud800", 1]]}]}',
], ids=lambda hostile: str(hostile)[:40])
def test_hostile_filters_are_refused(papers: Collection, hostile: Any) -> None:
    papers.upsert("acme", [Point(1, [0, 0])])
    for ask in (lambda: papers.count("acme", hostile), lambda: papers.search("acme", [0, 0], 1, hostile), lambda: papers.scroll("acme", hostile)):
        with pytest.raises(Invalid):
            ask()
    assert papers.count("acme") == 1


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(SCALARS | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from(NAMES), inner, max_size=4)))
def test_any_object_is_a_filter_or_invalid(papers: Collection, raw: Any) -> None:
    try:
        papers.count("acme", raw)
    except Invalid as error:
        assert len(str(error)) < 400


def test_a_filter_sees_what_is_granted_and_revoked_at_once(papers: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "SCAN_MAX", 0)
    red = {"must": [{"key": "colour", "match": {"value": "red"}}]}
    papers.upsert("acme", Points(range(9), np.zeros((9, 2)), [{"colour": "red"}] * 9))
    papers.create_role("team")
    seen = [papers.count("bolt", red)]
    for change in (lambda: papers.grant("acme", [1, 2, 3], to="bolt"), lambda: papers.grant("acme", [3, 4], to="team"),
                   lambda: papers.add_member("team", "bolt"), lambda: papers.revoke("acme", [3], "bolt"), lambda: papers.revoke("acme", [4], "team"),
                   lambda: papers.delete("acme", [1]), lambda: papers.set_payload("acme", [2], {"colour": "blue"}),
                   lambda: papers.remove_member("team", "bolt"), lambda: papers.drop_tenant("acme")):
        change()
        seen.append(papers.count("bolt", red))
    assert seen == [0, 3, 3, 4, 4, 3, 2, 1, 0, 0]


def test_few_layers_hold_many_writes(papers: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "SCAN_MAX", 0)
    low = {"must": [{"key": "n", "range": {"lt": 50}}]}
    papers.upsert("acme", Points(range(2000), np.zeros((2000, 2)), [{"n": n} for n in range(2000)]))
    for written in range(100):
        assert papers.count("acme", low) == 50 + written
        papers.set_payload("acme", [100 + written], {"n": 0})
    columns = papers._contents.namespace(papers._contents.parties.tenant("acme").number).warm().columns
    layers, = (each.layers for each in columns.values())
    assert 1 < len(layers) <= 6 and len(layers[0].rows) == 2000
