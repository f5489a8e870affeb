"""Figures by tenant, as Prometheus reads them."""

from __future__ import annotations

import urllib.request

import pytest
from mrpc import testing
from prometheus_client.parser import text_string_to_metric_families

from apps.vectordb import metrics
from apps.vectordb.client import models
from apps.vectordb.database import Database
from apps.vectordb.metrics import OTHERS, Meters
from tests.apps.vectordb.service.conftest import serving


def test_a_collection_that_is_dropped_while_all_are_gone_through(mesh: testing.Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as running:
        admin = running.client("admin")
        admin.create_collection("papers", models.VectorParams(4, models.Distance.COSINE))
        monkeypatch.setattr(Database, "collections", lambda self: ["gone", "papers"])
        assert [each.name for each in admin.get_collections().collections] == ["papers"]
        with urllib.request.urlopen(f"http://127.0.0.1:{running.service.serve_metrics(0)}/metrics", timeout=10) as answer:
            assert 'vectordb_points{collection="papers",tenant="admin"}' in answer.read().decode()


def test_what_tenants_did_and_hold(mesh: testing.Mesh) -> None:
    with serving() as running:
        admin, acme = running.client("admin"), running.client("acme")
        admin.create_collection("papers", models.VectorParams(4, models.Distance.COSINE))
        admin.create_tenant("papers", "acme")
        acme.upsert("papers", models.Batch([1, 2], [[1, 0, 0, 0]] * 2))
        acme.grant("papers", [1], to="admin")
        for _ in range(3):
            acme.query_points("papers", [1, 0, 0, 0])
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            acme.query_points("papers", [1, 0, 0])
        port = running.service.serve_metrics(0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        samples = {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}
    search = ("method", "Search"), ("tenant", "acme")
    assert samples["vectordb_calls_total", ("code", "OK"), *search] == 3
    assert samples["vectordb_calls_total", ("code", "INVALID_ARGUMENT"), *search] == 1
    assert samples["vectordb_call_seconds_count", *search] == 4
    assert samples["vectordb_cpu_seconds_total", *search] > 0
    assert samples["vectordb_points", ("collection", "papers"), ("tenant", "acme")] == 2
    assert samples["vectordb_visible_points", ("collection", "papers"), ("tenant", "admin")] == 1
    assert samples["vectordb_bytes", ("collection", "papers"), ("tenant", "acme")] >= 32
    assert samples["vectordb_waiting_calls",] == 0


def test_names_without_end_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "TENANTS_MAX", 2)
    meters = Meters()
    for tenant in ("a", "b", "c", "d", "a"):
        meters.count(tenant, "Search", "OK", 10, 5)
    calls = next(iter(meters.collect()))
    assert {sample.labels["tenant"]: sample.value for sample in calls.samples} == {"a": 2, "b": 1, OTHERS: 2}
    assert meters.tenants() == ["a", "b"]
