"""Tenants through the whole system: granted by operators, named by callers, verified by the daemon, read by servers."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from pathlib import Path

import pytest

from mrpc_service.registry import Registry, RegistryError, UnknownName

from .conftest import Mrpcd
from .test_applications import GREET, Start, eventually, greeter


def register(mrpcd: Mrpcd, name: str, act_as: str) -> str:
    """A token."""
    token: str = mrpcd.cli_json("app", "register", name, "--uid", str(os.geteuid()), "--act-as", act_as)["token"]
    return token


def test_grants_are_kept_with_the_app(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mrpcd.db")
    app, _ = registry.register_app("gateway", 1001, act_as=["globex", "acme", "acme"])
    assert app.act_as == ("acme", "globex")
    registry.register_app("other", 1001)
    registry.close()
    again = Registry(registry.path)
    assert {each.name: each.act_as for each in again.apps()} == {"gateway": ("acme", "globex"), "other": ()}
    replaced, _ = again.register_app("gateway", 1001, act_as=["*"], replace=True)
    assert again.apps()[0] == replaced and replaced.act_as == ("*",)
    assert again.remove_app("gateway").act_as == ("*",)
    assert again.register_app("gateway", 1001)[0].act_as == ()


def test_a_grant_changes_tenants_and_no_token(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mrpcd.db")
    app, _ = registry.register_app("gateway", 1001, act_as=["acme"])
    assert registry.grant_tenants("gateway", ["globex", "acme"]).act_as == ("acme", "globex")
    with pytest.raises(RegistryError, match="not valid"):
        registry.grant_tenants("gateway", ["a b"])
    with pytest.raises(UnknownName):
        registry.grant_tenants("nobody", [])
    (kept,) = registry.apps()
    assert kept == dataclasses.replace(app, act_as=("acme", "globex"))


@pytest.mark.parametrize("tenant", ["", "Acme", "a b", "uid:0", "a" * 64, "**"])
def test_a_bad_tenant_is_refused(tmp_path: Path, tenant: str) -> None:
    registry = Registry(tmp_path / "mrpcd.db")
    with pytest.raises(RegistryError, match="not valid"):
        registry.register_app("gateway", 1001, act_as=[tenant])
    assert registry.apps() == []


def test_a_registry_of_before_is_read(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mrpcd.db")
    registry.register_app("gateway", 1001, act_as=["acme"])
    registry.close()
    with sqlite3.connect(registry.path) as before:
        before.execute("DROP TABLE app_tenants")
    before.close()
    assert [(app.name, app.act_as) for app in Registry(registry.path).apps()] == [("gateway", ())]


def test_a_server_reads_the_verified_tenant(mrpcd: Mrpcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRPC_TOKEN", register(mrpcd, "gateway", "acme, globex"))
    assert mrpcd.cli_json("app", "list")[0]["act_as"] == ["acme", "globex"]
    with greeter(mrpcd):
        own = mrpcd.cli_json("call", GREET, "{}")
        assert own["reply"]["caller"] == "mrpc:gateway for gateway"
        acted = mrpcd.cli_json("call", GREET, "{}", "-m", "mrpc-tenant:acme")
        assert acted["reply"]["caller"] == "mrpc:gateway for acme"
        assert mrpcd.cli_json("app", "grant", "gateway", "--tenants", "globex")["act_as"] == ["globex"]
        assert mrpcd.cli("call", GREET, "{}", "-m", "mrpc-tenant:acme").returncode == 1
        acted = mrpcd.cli_json("call", GREET, "{}", "-m", "mrpc-tenant:globex")  # by the same token
        assert acted["reply"]["caller"] == "mrpc:gateway for globex"
        assert "'mrpc app list'" in mrpcd.cli("app", "grant", "nobody", "--tenants", "").stderr


def test_a_forged_tenant_is_denied_with_what_to_do(mrpcd: Mrpcd, monkeypatch: pytest.MonkeyPatch) -> None:
    register(mrpcd, "gateway", "acme")
    me = f"uid:{os.geteuid()}"
    with greeter(mrpcd):
        for claimed in ("acme", "gateway", "*"):  # not this caller's: it has no token
            forged = mrpcd.cli("call", GREET, "{}", "-m", f"mrpc-tenant:{claimed}")
            assert forged.returncode == 1
            assert forged.stderr.startswith(f"PERMISSION_DENIED: app '{me}' may not call for tenant '{claimed}'"), forged.stderr
            assert "mrpc app register" in forged.stderr
        monkeypatch.setenv("MRPC_TOKEN", register(mrpcd, "lonely", ""))
        assert mrpcd.cli("call", GREET, "{}", "-m", "mrpc-tenant:acme").returncode == 1
        assert mrpcd.cli_json("call", GREET, "{}", "-m", "mrpc-app:gateway")["reply"]["caller"] == "mrpc:lonely for lonely"


def test_tenants_travel_between_hosts(start_mrpcd: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    far = start_mrpcd("--node", "far", "--listen", "127.0.0.1:0", "--insecure", name="far")
    near = start_mrpcd("--node", "near", "--peer", far.cli_json("status")["listen"], name="near")
    with greeter(far):
        eventually(lambda: any(service["service"] == "test.Greeter" for service in near.cli_json("services")))
        monkeypatch.setenv("MRPC_TOKEN", register(near, "gateway", "acme"))
        acted = near.cli_json("call", GREET, "{}", "-m", "mrpc-tenant:acme")
        assert acted["reply"]["caller"] == "mrpc:gateway@near for acme"
        assert near.cli_json("call", GREET, "{}")["reply"]["caller"] == "mrpc:gateway@near for gateway@near"
        assert near.cli("call", GREET, "{}", "-m", "mrpc-tenant:globex").returncode == 1
