"""Who a tenant is, and that nobody learns of what is not his."""

from __future__ import annotations

import os
import subprocess
import sys

import mrpc
import pytest
from mrpc import testing

from apps.vectordb.client import models, reason
from apps.vectordb.database import Quota
from apps.vectordb.server import Options
from tests.apps.vectordb.service.conftest import OPTIONS, mrpc_cli, serving

PARAMS = models.VectorParams(4, models.Distance.COSINE)


def status(call, *given, **named) -> tuple[str, str]:
    """(code, text) of a call that must fail."""
    with pytest.raises(mrpc.RpcError) as caught:
        call(*given, **named)
    return caught.value.code().name, caught.value.details()


def test_the_tenant_is_the_app_itself_unless_it_acts_for_another(mesh: testing.Mesh) -> None:
    with serving(options=Options(admins=("gateway",))) as running:
        gateway = running.client()
        gateway.create_collection("papers", PARAMS)
        assert gateway.tenants("papers") == ["gateway"]
        gateway.upsert("papers", [models.PointStruct(1, [1, 0, 0, 0])])
        assert status(running.client("acme").count, "papers")[0] == "NOT_FOUND"


def test_an_app_that_may_not_act_for_a_tenant_reaches_no_service(mesh: testing.Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    done = mrpc_cli(mesh, "app", "register", "lonely", "--uid", str(os.getuid()), "--quiet")
    script = """
from apps.vectordb.client import Client
for tenant in ("acme", "admin", "gateway"):
    try:
        Client(tenant=tenant).count("papers")
    except Exception as error:
        print(error.code().name)
"""
    with serving() as running:
        running.client("admin").create_collection("papers", PARAMS)
        environment = os.environ | {"MRPC_TOKEN": done.stdout.strip()}
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
        assert ran.stdout.split() == ["PERMISSION_DENIED"] * 3, ran.stderr
        assert running.service.meters.tenants() == ["admin"], "the service heard of none of them"


def test_a_collection_of_others_and_one_that_is_not_there_answer_alike(mesh: testing.Mesh) -> None:
    with serving() as running:
        admin, stranger = running.client("admin"), running.client("stranger")
        admin.create_collection("there", PARAMS)
        calls = [
            lambda name: stranger.query_points(name, [1, 0, 0, 0]),
            lambda name: stranger.scroll(name),
            lambda name: stranger.count(name),
            lambda name: stranger.get_collection(name),
            lambda name: stranger.usage(name),
            lambda name: stranger.recall(name),
            lambda name: stranger.delete(name, [1]),
            lambda name: stranger.upsert(name, models.Batch([1], [[1, 0, 0, 0]])),
            lambda name: stranger.grant(name, [1], to="admin"),
            lambda name: stranger.export_tenant(name).__next__(),
        ]
        for call in calls:
            code, text = status(call, "there")
            assert code == "NOT_FOUND" and status(call, "nowhere") == (code, text.replace("'there'", "'nowhere'"))
        assert stranger.get_collections().collections == []
        assert [each.name for each in admin.get_collections().collections] == ["there"]


def test_administration_is_for_administrators(mesh: testing.Mesh) -> None:
    with serving() as running:
        admin, acme = running.client("admin"), running.client("acme")
        admin.create_collection("papers", PARAMS)
        admin.create_tenant("papers", "acme")
        calls = [
            lambda: acme.create_collection("mine", PARAMS),
            lambda: acme.delete_collection("papers"),
            lambda: acme.tenants("papers"),
            lambda: acme.create_tenant("papers", "ally"),
            lambda: acme.set_quota("papers", "acme"),
            lambda: acme.delete_tenant("papers", "admin"),
            lambda: acme.create_role("papers", "role"),
            lambda: acme.add_member("papers", "role", "acme"),
            lambda: acme.usage("papers", "admin"),
            lambda: acme.recall("papers", "admin"),
            lambda: next(acme.export_tenant("papers", "admin")),
            lambda: acme.import_tenant("papers", [b"x"]),
        ]
        assert {status(call)[0] for call in calls} == {"PERMISSION_DENIED"}
        assert acme.usage("papers").points == 0 and acme.recall("papers") is None
        assert admin.usage("papers", "acme").points == 0


def test_a_role_cannot_act(mesh: testing.Mesh) -> None:
    with serving() as running:
        admin = running.client("admin")
        admin.create_collection("papers", PARAMS)
        admin.create_role("papers", "readers")
        assert status(running.client("readers").count, "papers")[0] == "NOT_FOUND"
        assert status(admin.delete_tenant, "papers", "readers")[0] == "NOT_FOUND"
        assert status(admin.create_tenant, "papers", "readers")[0] == "ALREADY_EXISTS"


def test_newcomers_are_made_at_their_first_write_where_the_operator_says_so(mesh: testing.Mesh) -> None:
    with serving(options=Options(OPTIONS.admins, newcomers=Quota(vectors=2))) as running:
        running.client("admin").create_collection("papers", PARAMS)
        new = running.client("new")
        assert status(new.count, "papers")[0] == "NOT_FOUND"
        new.upsert("papers", models.Batch([1, 2], [[1, 0, 0, 0]] * 2))
        assert new.count("papers").count == 2
        with pytest.raises(mrpc.RpcError) as caught:
            new.upsert("papers", models.Batch([3], [[1, 0, 0, 0]]))
        assert reason(caught.value).name == "QUOTA_EXCEEDED"
        assert status(new.upsert, "nowhere", models.Batch([3], [[1, 0, 0, 0]]))[0] == "NOT_FOUND"


def test_a_bug_of_ours_tells_the_caller_nothing(mesh: testing.Mesh, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with serving() as running:
        running.client("admin").create_collection("papers", PARAMS)
        monkeypatch.setattr(type(running.database.collection("papers")), "count", lambda *_: {}["secret"])
        code, text = status(running.client("admin").count, "papers")
        assert code == "INTERNAL" and "secret" not in text and "secret" in caplog.text


def test_a_tenant_that_is_dropped_is_gone_with_its_points(mesh: testing.Mesh) -> None:
    with serving() as running:
        admin, acme = running.client("admin"), running.client("acme")
        admin.create_collection("papers", PARAMS)
        admin.create_tenant("papers", "acme")
        acme.upsert("papers", models.Batch([1, 2], [[1, 0, 0, 0]] * 2))
        acme.grant("papers", [1], to="admin")
        assert admin.delete_tenant("papers", "acme") == 2
        assert admin.count("papers").count == 0 and status(acme.count, "papers")[0] == "NOT_FOUND"
