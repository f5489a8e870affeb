"""The policies that come with the service, on a real daemon: they judge by the request's fields before the service hears of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mrpc
import numpy as np
import pytest
from mrpc import testing

from apps.vectordb.client import models, reason
from tests.apps.vectordb.service.conftest import Running, mrpc_cli, serving

POLICIES = Path(__file__).parents[4] / "apps" / "vectordb" / "policies"
CHAIN = """
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {{name: {name}}}
spec:
  selector: {{service: vectordb.Points{method}}}
  policies:
    - {{name: it, use: {use}, config: {config}}}
"""


@pytest.fixture(scope="module")
def running(mesh: testing.Mesh) -> Iterator[Running]:
    with serving() as one:
        admin = one.client("admin")
        for name in ("papers", "secret"):
            admin.create_collection(name, models.VectorParams(4, models.Distance.COSINE))
            admin.create_tenant(name, "acme")
        one.client("acme").upsert("papers", models.Batch(range(8), np.eye(8, 4) + 0.1))
        yield one


@pytest.fixture
def apply(mesh: testing.Mesh, tmp_path: Path) -> Iterator:
    """Applies documents; all are deleted in the end."""
    names: list[str] = []

    def apply(*documents: str) -> None:
        for number, text in enumerate(documents):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text)
            names.append(text.split("name: ")[1].split("}")[0])
            apply_file(mesh, path)

    yield apply
    for name in names:
        assert mrpc_cli(mesh, "policy", "delete", name).returncode == 0


def apply_file(mesh: testing.Mesh, path: Path) -> None:
    done = mrpc_cli(mesh, "policy", "apply", str(path))
    assert done.returncode == 0, done.stderr


def code(call, *given, **named) -> str:
    """Of a call: OK, or what a policy (and not the service) refused it with."""
    try:
        call(*given, **named)
    except mrpc.RpcError as error:
        assert reason(error) is None and "denied by policy" in error.details(), error
        return error.code().name
    return "OK"


def test_the_shipped_documents_apply_and_let_normal_use_pass(running: Running, mesh: testing.Mesh) -> None:
    acme = running.client("acme")
    for document in ("default.yaml", "closed-collection.yaml"):
        apply_file(mesh, POLICIES / document)
    try:
        assert code(acme.query_points, "papers", [1, 0, 0, 0]) == "OK"
        assert code(acme.query_points, "secret", [1, 0, 0, 0]) == "PERMISSION_DENIED"
        assert code(acme.count, "secret") == "PERMISSION_DENIED"
        assert code(acme.upsert, "secret", models.Batch([1], [[1, 0, 0, 0]])) == "PERMISSION_DENIED"
        assert code(acme.scroll, "papers") == "OK"
        explained = json.loads(mrpc_cli(mesh, "policy", "explain", "vectordb.Points/Search", "-o", "json").stdout)
        assert "compiled" in str(explained) and "search_budget" in str(explained)
    finally:
        for name in ("vectordb-search", "vectordb-fuse", "vectordb-groups", "vectordb-quota", "vectordb-closed"):
            assert mrpc_cli(mesh, "policy", "delete", name).returncode == 0
    assert code(acme.query_points, "secret", [1, 0, 0, 0]) == "OK"


def test_a_search_costs_its_queries_times_k_of_its_tenants_budget(running: Running, apply) -> None:
    acme, admin = running.client("acme"), running.client("admin")
    budget = CHAIN.format(name="budget", method=", method: Search", use=POLICIES / "search_budget.py", config="{results_per_s: 0.001, burst: 100}")
    apply(budget)
    assert code(acme.search_columns, "papers", np.eye(4), 20) == "OK"
    assert code(acme.query_points, "papers", [1, 0, 0, 0], limit=30) == "RESOURCE_EXHAUSTED"
    assert code(acme.query_points, "papers", [1, 0, 0, 0], limit=20) == "OK"
    assert code(acme.query_points, "papers", [1, 0, 0, 0], limit=1) == "RESOURCE_EXHAUSTED"
    assert code(admin.query_points, "papers", [1, 0, 0, 0], limit=100) == "OK", "another tenant has a budget of its own"
    assert code(admin.query_points, "papers", [1, 0, 0, 0], limit=101) == "INVALID_ARGUMENT"
    assert code(acme.count, "papers") == "OK", "the budget is of searches"


def test_a_search_cannot_lie_about_its_size(running: Running, apply) -> None:
    """The policy believes `queries`; the service refuses what does not agree with it."""
    acme = running.client("acme")
    request = acme._pb.SearchRequest(collection="papers", queries=1, k=1, values=[1.0] * 8)
    with pytest.raises(mrpc.RpcError) as caught:
        acme._points.Search(request, metadata=acme._metadata)
    assert reason(caught.value).name == "INVALID"


def test_calls_are_counted_for_each_tenant(running: Running, apply) -> None:
    acme, admin = running.client("acme"), running.client("admin")
    apply(CHAIN.format(name="quota", method="", use="quota", config="{calls_max: 2, period: 1h}"))
    assert [code(acme.count, "papers"), code(acme.scroll, "papers"), code(acme.count, "papers")] == ["OK", "OK", "RESOURCE_EXHAUSTED"]
    assert code(admin.count, "papers") == "OK"
