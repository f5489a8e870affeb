from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from mrpc_service.errors import StartupError
from mrpc_service.registry import NameTaken, Registry, RegistryError, UnknownName


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "mrpcd.db")


def test_an_app_keeps_the_hash_of_its_token_alone(registry: Registry) -> None:
    app, token = registry.register_app("frontend", 1001)
    assert app.token_sha256 == hashlib.sha256(token.encode()).digest()
    assert registry.apps() == [app]
    for file in registry.path.parent.iterdir():
        assert token.encode() not in file.read_bytes()


def test_a_taken_name_is_refused_and_replaced_on_request(registry: Registry) -> None:
    old, _ = registry.register_app("frontend", 1001)
    with pytest.raises(NameTaken, match="--replace"):
        registry.register_app("frontend", 1002)
    new, _ = registry.register_app("frontend", 1002, replace=True)
    assert registry.apps() == [new]
    assert new.token_sha256 != old.token_sha256


@pytest.mark.parametrize("name", ["", "uid:0", "Front", "a" * 64, "-a", "a b", "a\n"])
def test_a_bad_name_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(RegistryError, match="not valid"):
        registry.register_app(name, 1001)


@pytest.mark.parametrize("uid", [-1, 2**32 - 1])
def test_a_bad_uid_is_refused(registry: Registry, uid: int) -> None:
    with pytest.raises(RegistryError, match="out of range"):
        registry.register_app("frontend", uid)


def test_removing_an_app_forgets_it(registry: Registry) -> None:
    registry.register_app("frontend", 1001)
    registry.remove_app("frontend")
    assert registry.apps() == []
    with pytest.raises(UnknownName, match="mrpc app list"):
        registry.remove_app("frontend")


def test_the_first_principal_holds_a_service_until_it_is_released(registry: Registry) -> None:
    assert registry.claim_service("hotel.Search", "uid:1001")
    assert not registry.claim_service("hotel.Search", "uid:1002")
    assert [owner.principal for owner in registry.owners()] == ["uid:1001"]
    assert registry.release_service("hotel.Search").principal == "uid:1001"
    assert registry.claim_service("hotel.Search", "uid:1002")
    with pytest.raises(UnknownName):
        registry.release_service("hotel.Geo")


def test_all_of_it_outlives_the_daemon(registry: Registry) -> None:
    app, _ = registry.register_app("frontend", 1001)
    registry.claim_service("hotel.Search", "uid:1001")
    registry.close()
    again = Registry(registry.path)
    assert again.apps() == [app]
    assert len(again.owners()) == 1


def test_a_file_that_is_no_registry_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mrpcd.db"
    path.write_bytes(b"this is not a database, but it is longer than its header" * 10)
    with pytest.raises(StartupError, match="cannot use the registry .*mrpcd.db") as caught:
        Registry(path)
    assert "\n" not in str(caught.value)


def test_a_registry_of_a_newer_release_is_left_alone(registry: Registry) -> None:
    registry.close()
    with sqlite3.connect(registry.path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StartupError, match="newer mrpcd"):
        Registry(registry.path)
