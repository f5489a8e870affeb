"""What a daemon remembers from one life to the next: apps, service owners, and what was applied. SQLite, WAL.

An *app* binds a name to a uid and a token; only the token's SHA-256 is stored, and the token, 256 random bits, needs no
salt or stretching. A *service owner* is the principal that first offered a service's name; it holds the name against
other principals until an operator releases it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrpc_service.errors import StartupError

APPLIED_KEPT = 200
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
UID_MAX = 2**32 - 2
UNOWNED = frozenset({"grpc.health.v1.Health"})  # every app offers these for itself; registrar.cpp has the same list

TABLES = """
CREATE TABLE IF NOT EXISTS apps (
  name TEXT PRIMARY KEY, uid INTEGER NOT NULL, token_sha256 BLOB NOT NULL UNIQUE, created_unix_s REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS service_owners (
  service TEXT PRIMARY KEY, principal TEXT NOT NULL, since_unix_s REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS applied (
  id INTEGER PRIMARY KEY, at_unix_s REAL NOT NULL, operator_uid INTEGER NOT NULL, cause TEXT NOT NULL,
  epoch INTEGER NOT NULL, pause_ns_max INTEGER NOT NULL, documents_json TEXT NOT NULL) STRICT;
"""
SCHEMA_VERSION = 1


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


@dataclass(frozen=True)
class Owner:
    service: str
    principal: str
    since_unix_s: float


@dataclass(frozen=True)
class AppliedRecord:
    id: int
    at_unix_s: float
    operator_uid: int
    cause: str
    epoch: int
    pause_ns_max: int
    documents_json: str


class Registry:
    """Used from the control plane's thread only."""

    def __init__(self, path: Path) -> None:
        """Open or make the store. StartupError if it cannot be read or written, or a newer mrpcd wrote it."""
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._migrate()
        except (sqlite3.Error, OSError) as error:
            hint = "restore or remove it, or pass --state-dir DIR"
            raise StartupError(f"cannot use the registry {path}: {error}; {hint}") from None

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StartupError(f"the registry {self.path} was written by a newer mrpcd; upgrade mrpcd, or pass --state-dir DIR")
        self._db.executescript(TABLES)
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def close(self) -> None:
        self._db.close()

    # ---- apps

    def register_app(self, name: str, uid: int, *, replace: bool = False) -> tuple[App, str]:
        """Bind `name` to `uid`; returns the app and its token, which is stored nowhere. RegistryError, NameTaken."""
        if not NAME.fullmatch(name):
            raise RegistryError(f"app name {name!r} is not valid: use up to 63 of a-z 0-9 . _ -, no sign at the ends")
        if not 0 <= uid <= UID_MAX:
            raise RegistryError(f"uid {uid} is out of range")
        token = "mrpc_" + secrets.token_urlsafe(32)
        app = App(name, uid, hashlib.sha256(token.encode()).digest(), time.time())
        verb = "INSERT OR REPLACE" if replace else "INSERT"
        try:
            self._db.execute(f"{verb} INTO apps VALUES (?, ?, ?, ?)", (name, uid, app.token_sha256, app.created_unix_s))
        except sqlite3.IntegrityError:
            raise NameTaken(f"app {name!r} is registered already; --replace gives it a new token") from None
        return app, token

    def remove_app(self, name: str) -> App:
        """Forget a name and its token. UnknownName."""
        row = self._db.execute("DELETE FROM apps WHERE name = ? RETURNING *", (name,)).fetchone()
        if row is None:
            raise UnknownName(f"no app {name!r} is registered; 'mrpc app list' shows those that are")
        return App(*row)

    def apps(self) -> list[App]:
        return [App(*row) for row in self._db.execute("SELECT * FROM apps ORDER BY name")]

    # ---- service owners

    def claim_service(self, service: str, principal: str) -> bool:
        """Record that `principal` offers `service`; True if it holds the name from now on, and nobody did until now."""
        if service in UNOWNED:
            return False
        made = self._db.execute(
            "INSERT OR IGNORE INTO service_owners VALUES (?, ?, ?)", (service, principal, time.time())
        )
        return made.rowcount == 1

    def release_service(self, service: str) -> Owner:
        """Free a name for the next principal that offers it. UnknownName."""
        row = self._db.execute("DELETE FROM service_owners WHERE service = ? RETURNING *", (service,)).fetchone()
        if row is None:
            raise UnknownName(f"nobody holds service {service!r}; 'mrpc service owners' shows what is held")
        return Owner(*row)

    def owners(self) -> list[Owner]:
        return [Owner(*row) for row in self._db.execute("SELECT * FROM service_owners ORDER BY service")]

    # ---- history

    def record_applied(self, operator_uid: int, cause: str, epoch: int, pause_ns_max: int, documents: list[Any]) -> None:
        """Remember one apply; the last APPLIED_KEPT are kept."""
        row = (time.time(), operator_uid, cause, epoch, pause_ns_max, json.dumps(documents))
        added = self._db.execute("INSERT INTO applied VALUES (NULL, ?, ?, ?, ?, ?, ?)", row)
        self._db.execute("DELETE FROM applied WHERE id <= ?", (added.lastrowid - APPLIED_KEPT,))

    def applied(self, limit: int = 20) -> list[AppliedRecord]:
        """Newest first."""
        return [AppliedRecord(*row) for row in self._db.execute("SELECT * FROM applied ORDER BY id DESC LIMIT ?", (limit,))]
