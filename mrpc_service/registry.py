"""What a daemon remembers from one life to the next of names: apps and service owners. (Of chains: `chains/store.py`.)

An *app* binds a name to a uid, to a token, and to the *tenants* on whose behalf it may call besides its own. Only the token's
SHA-256 is stored, and the token, 256 random bits, needs no salt or stretching. A *service owner* is the principal that first
offered a service's name; it holds the name against other principals until an operator releases it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrpc_service.store import open_store, transaction

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
UID_MAX = 2**32 - 2
ANY_TENANT = "*"
TENANTS_MAX = 256  # of one app
UNOWNED = frozenset({"grpc.health.v1.Health"})  # every app offers these for itself; registrar.cpp has the same list

TABLES = """
CREATE TABLE IF NOT EXISTS apps (
  name TEXT PRIMARY KEY, uid INTEGER NOT NULL, token_sha256 BLOB NOT NULL UNIQUE, created_unix_s REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS app_tenants (
  app TEXT NOT NULL, tenant TEXT NOT NULL, PRIMARY KEY (app, tenant)) STRICT;
CREATE TABLE IF NOT EXISTS service_owners (
  service TEXT PRIMARY KEY, principal TEXT NOT NULL, since_unix_s REAL NOT NULL) STRICT;
"""


class RegistryError(Exception):
    """A request that the registry refuses; the text says why."""


class NameTaken(RegistryError):
    pass


class UnknownName(RegistryError):
    pass


@dataclass(frozen=True)
class App:
    name: str
    uid: int
    token_sha256: bytes
    created_unix_s: float
    act_as: tuple[str, ...] = ()  # tenants on whose behalf it may call; "*" is any


@dataclass(frozen=True)
class Owner:
    service: str
    principal: str
    since_unix_s: float


def checked_tenants(act_as: Sequence[str]) -> tuple[str, ...]:
    """Each once, in order. RegistryError."""
    tenants = tuple(sorted(set(act_as)))
    for tenant in tenants:
        if tenant != ANY_TENANT and not NAME.fullmatch(tenant):
            raise RegistryError(f"tenant {tenant!r} is not valid: use a name as of an app, or * for any")
    if len(tenants) > TENANTS_MAX:
        raise RegistryError(f"{len(tenants)} tenants are more than {TENANTS_MAX}; grant * instead")
    return tenants


class Registry:
    """Used from the control plane's thread only."""

    def __init__(self, path: Path, *, reset: bool = False) -> None:
        """Open or make the store, of which `db` is the connection. StartupError; `reset` as open_store has it."""
        self.path = path
        self.db = open_store(path, reset=reset)
        self.db.executescript(TABLES)

    def close(self) -> None:
        self.db.close()

    # ---- apps

    def register_app(self, name: str, uid: int, *, act_as: Sequence[str] = (), replace: bool = False) -> tuple[App, str]:
        """Bind `name` to `uid`; returns the app and its token, which is stored nowhere. RegistryError, NameTaken."""
        if not NAME.fullmatch(name):
            raise RegistryError(f"app name {name!r} is not valid: use up to 63 of a-z 0-9 . _ -, no sign at the ends")
        if not 0 <= uid <= UID_MAX:
            raise RegistryError(f"uid {uid} is out of range")
        token = "mrpc_" + secrets.token_urlsafe(32)
        app = App(name, uid, hashlib.sha256(token.encode()).digest(), time.time(), checked_tenants(act_as))
        self._store_app(app, "INSERT OR REPLACE" if replace else "INSERT")
        return app, token

    def _store_app(self, app: App, verb: str) -> None:
        try:
            with transaction(self.db):
                self.db.execute(f"{verb} INTO apps VALUES (?, ?, ?, ?)", (app.name, app.uid, app.token_sha256, app.created_unix_s))
                self.db.execute("DELETE FROM app_tenants WHERE app = ?", (app.name,))
                self.db.executemany("INSERT INTO app_tenants VALUES (?, ?)", [(app.name, tenant) for tenant in app.act_as])
        except sqlite3.IntegrityError:
            raise NameTaken(f"app {app.name!r} is registered already; --replace gives it a new token") from None

    def grant_tenants(self, name: str, act_as: Sequence[str]) -> App:
        """Replace the tenants on whose behalf an app may call; its token stays. RegistryError, UnknownName."""
        app = dataclasses.replace(self.app(name), act_as=checked_tenants(act_as))
        self._store_app(app, "INSERT OR REPLACE")
        return app

    def app(self, name: str) -> App:
        """UnknownName."""
        found = next((app for app in self.apps() if app.name == name), None)
        if found is None:
            raise UnknownName(f"no app {name!r} is registered; 'mrpc app list' shows those that are")
        return found

    def remove_app(self, name: str) -> App:
        """Forget a name, its token and its tenants. UnknownName."""
        gone = self.app(name)
        with transaction(self.db):
            self.db.execute("DELETE FROM apps WHERE name = ?", (name,))
            self.db.execute("DELETE FROM app_tenants WHERE app = ?", (name,))
        return gone

    def apps(self) -> list[App]:
        tenants: dict[str, list[str]] = {}
        for app, tenant in self.db.execute("SELECT app, tenant FROM app_tenants ORDER BY app, tenant"):
            tenants.setdefault(app, []).append(tenant)
        rows = self.db.execute("SELECT name, uid, token_sha256, created_unix_s FROM apps ORDER BY name")
        return [App(*row, tuple(tenants.get(row[0], ()))) for row in rows]

    # ---- service owners

    def claim_service(self, service: str, principal: str) -> bool:
        """Record that `principal` offers `service`; True if it holds the name from now on, and nobody did until now."""
        if service in UNOWNED:
            return False
        made = self.db.execute(
            "INSERT OR IGNORE INTO service_owners VALUES (?, ?, ?)", (service, principal, time.time())
        )
        return made.rowcount == 1

    def release_service(self, service: str) -> Owner:
        """Free a name for the next principal that offers it. UnknownName."""
        row = self.db.execute("DELETE FROM service_owners WHERE service = ? RETURNING *", (service,)).fetchone()
        if row is None:
            raise UnknownName(f"nobody holds service {service!r}; 'mrpc service owners' shows what is held")
        return Owner(*row)

    def owners(self) -> list[Owner]:
        return [Owner(*row) for row in self.db.execute("SELECT * FROM service_owners ORDER BY service")]
