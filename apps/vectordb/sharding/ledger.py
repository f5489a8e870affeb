"""What a router must not forget: who is where, who may see whose points, and which replicas hold all acknowledged writes.

One SQLite file, read into memory at the start; each change is on disk before anything follows from it. A tenant's home is the shard that
holds what it owns. That an owner granted something is noted before it does so and kept when it revokes: shards that a tenant is sent
to may hold nothing for it, and no other shard holds anything.
"""
from __future__ import annotations

import secrets
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ..database import Quota
from ..database.errors import Invalid, NotFound
from ..database.lock import DirectoryLock

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS replicas (shard TEXT, app TEXT, current INTEGER NOT NULL, PRIMARY KEY (shard, app)) STRICT;
CREATE TABLE IF NOT EXISTS collections (name TEXT PRIMARY KEY, made INTEGER NOT NULL, metric INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS parties (
  collection TEXT, name TEXT, is_role INTEGER NOT NULL, home TEXT NOT NULL, quota TEXT NOT NULL, made INTEGER NOT NULL,
  PRIMARY KEY (collection, name)) STRICT;
CREATE TABLE IF NOT EXISTS members (collection TEXT, role TEXT, tenant TEXT, PRIMARY KEY (collection, role, tenant)) STRICT;
CREATE TABLE IF NOT EXISTS grants (collection TEXT, owner TEXT, grantee TEXT, PRIMARY KEY (collection, owner, grantee)) STRICT;
CREATE TABLE IF NOT EXISTS leftovers (collection TEXT, owner TEXT, shard TEXT, PRIMARY KEY (collection, owner, shard)) STRICT;
"""


@dataclass
class Party:
    """A tenant or role. made: all shards know it."""

    name: str
    is_role: bool
    home: str
    quota: Quota
    made: bool
    roles: set[str] = field(default_factory=set)
    granted_to: set[str] = field(default_factory=set)
    sources: Counter[str] = field(default_factory=Counter)  # shards: of how many that granted something to it they are the home


class Ledger:
    """Of a router's directory. Locked when another router has it. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._directory = DirectoryLock(folder)
        self._guard = threading.RLock()
        self._db = sqlite3.connect(folder / "router.db", check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + TABLES)
        self._run("INSERT OR IGNORE INTO meta VALUES ('router', ?), ('starts', '0'), ('clean', '1')", secrets.token_hex(16))
        self.router: str = self._meta("router")
        self.was_clean = self._meta("clean") == "1"
        self._run("UPDATE meta SET value = '0' WHERE key = 'clean'")
        starts = self._run("UPDATE meta SET value = value + 1 WHERE key = 'starts' RETURNING value")[0][0]
        self._epochs = count((int(starts) << 32) + 1)
        self._collections: dict[str, tuple[bool, int]] = {}  # whether all shards have it, and its metric
        self.moves = 0  # homes that changed
        self._parties: defaultdict[str, dict[str, Party]] = defaultdict(dict)
        self._load()

    def close(self, clean: bool) -> None:
        """clean: no call was at work any more."""
        if clean:
            self._run("UPDATE meta SET value = '1' WHERE key = 'clean'")
        self._db.close()
        self._directory.close()

    def next_epoch(self) -> int:
        """Larger than any before, of routers before this one, too."""
        return next(self._epochs)

    # ---- replicas

    def check_shards(self, names: Iterable[str]) -> None:
        """Invalid when a shard is not among them that is the home of a tenant."""
        homes = {party.home for parties in self._parties.values() for party in parties.values()}
        if missing := homes - set(names):
            raise Invalid(f"tenants are at home on {', '.join(sorted(missing))}: name that shard, too, or move them away first")

    def collections(self) -> list[str]:
        return list(self._collections)

    def replicas(self, shard: str, apps: Sequence[str]) -> set[str]:
        """Those of them that hold all acknowledged writes; of a shard that is new, the first. Invalid when there is none."""
        with self._guard:
            if not self._run("SELECT 1 FROM replicas WHERE shard = ?", shard):
                self._run("INSERT INTO replicas VALUES (?, ?, 1)", shard, apps[0])
            current = {app for app, in self._run("SELECT app FROM replicas WHERE shard = ? AND current", shard)}
            if current.isdisjoint(apps):
                raise Invalid(f"shard {shard!r}: only {', '.join(sorted(current))} has all writes: begin with as many replicas as before")
            return current & set(apps)

    def set_current(self, shard: str, apps: Iterable[str]) -> None:
        with self._guard:
            self._db.execute("BEGIN")
            self._run("UPDATE replicas SET current = 0 WHERE shard = ?", shard)
            self._db.executemany("INSERT OR REPLACE INTO replicas VALUES (?, ?, 1)", [(shard, app) for app in apps])
            self._db.execute("COMMIT")

    # ---- tenants and roles

    def party(self, collection: str, name: str) -> Party | None:
        return self._parties[collection].get(name) if collection in self._parties else None

    def parties(self, collection: str) -> list[Party]:
        with self._guard:
            return list(self._parties[collection].values()) if collection in self._parties else []

    def collection(self, name: str) -> bool | None:
        """Whether all shards have it; None when it is not known."""
        known = self._collections.get(name)
        return None if known is None else known[0]

    def metric(self, name: str) -> int:
        """A Metric of vectordb.proto."""
        return self._collections[name][1] if name in self._collections else 0

    def put_collection(self, name: str, *, made: bool, metric: int) -> None:
        with self._guard:
            self._run("INSERT OR REPLACE INTO collections VALUES (?, ?, ?)", name, made, metric)
            self._collections[name] = made, metric

    def shards(self, collection: str, tenant: str) -> list[str]:
        """Where a tenant may find something, its home first. NotFound for one that was dropped."""
        with self._guard:
            party = self.party(collection, tenant)
            if party is None:
                raise NotFound(f"there is no collection {collection!r} with a tenant {tenant!r}")
            found = dict.fromkeys([party.home, *party.sources])
            for role in party.roles:
                found.update(dict.fromkeys(self._parties[collection][role].sources))
            return list(found)

    def add(self, collection: str, name: str, is_role: bool, home: str, quota: Quota) -> Party:
        with self._guard:
            self._run("INSERT INTO parties VALUES (?, ?, ?, ?, ?, 0)", collection, name, is_role, home, _text(quota))
            party = self._parties[collection][name] = Party(name, is_role, home, quota, made=False)
            return party

    def set_made(self, collection: str, name: str) -> None:
        with self._guard:
            self._run("UPDATE parties SET made = 1 WHERE collection = ? AND name = ?", collection, name)
            self._parties[collection][name].made = True

    def set_quota(self, collection: str, name: str, quota: Quota) -> None:
        with self._guard:
            self._run("UPDATE parties SET quota = ? WHERE collection = ? AND name = ?", _text(quota), collection, name)
            self._parties[collection][name].quota = quota

    def drop(self, collection: str, name: str) -> None:
        with self._guard:
            self._run("DELETE FROM parties WHERE collection = ? AND name = ?", collection, name)
            self._run("DELETE FROM members WHERE collection = ? AND ? IN (role, tenant)", collection, name)
            self._run("DELETE FROM grants WHERE collection = ? AND ? IN (owner, grantee)", collection, name)
            self._run("DELETE FROM leftovers WHERE collection = ? AND owner = ?", collection, name)
            parties = self._parties[collection]
            gone = parties.pop(name)
            for grantee in gone.granted_to:
                _take(parties[grantee].sources, gone.home)
            for party in parties.values():
                party.granted_to.discard(name)
                party.roles.discard(name)

    def drop_collection(self, collection: str) -> None:
        with self._guard:
            for table in ("parties", "members", "grants", "leftovers"):
                self._run(f"DELETE FROM {table} WHERE collection = ?", collection)
            self._run("DELETE FROM collections WHERE name = ?", collection)
            self._parties.pop(collection, None)
            self._collections.pop(collection, None)

    def members(self, collection: str) -> list[tuple[str, str]]:
        """(role, tenant)."""
        return self._run("SELECT role, tenant FROM members WHERE collection = ? ORDER BY role, tenant", collection)

    def join(self, collection: str, role: str, tenant: str) -> None:
        with self._guard:
            self._run("INSERT OR IGNORE INTO members VALUES (?, ?, ?)", collection, role, tenant)
            self._parties[collection][tenant].roles.add(role)

    def leave(self, collection: str, role: str, tenant: str) -> None:
        with self._guard:
            self._run("DELETE FROM members WHERE collection = ? AND role = ? AND tenant = ?", collection, role, tenant)
            self._parties[collection][tenant].roles.discard(role)

    def note_grant(self, collection: str, owner: str, grantee: str) -> None:
        with self._guard:
            party, other = self.party(collection, owner), self.party(collection, grantee)
            if party and other and grantee not in party.granted_to:  # else dropped meanwhile
                self._run("INSERT OR IGNORE INTO grants VALUES (?, ?, ?)", collection, owner, grantee)
                party.granted_to.add(grantee)
                other.sources[party.home] += 1

    # ---- moves

    def note_leftover(self, collection: str, owner: str, shard: str) -> None:
        """That points of the owner may lie on a shard which is not its home."""
        self._run("INSERT OR IGNORE INTO leftovers VALUES (?, ?, ?)", collection, owner, shard)

    def leftovers(self) -> list[tuple[str, str, str]]:
        """(collection, owner, shard)."""
        return self._run("SELECT collection, owner, shard FROM leftovers")

    def forget_leftover(self, collection: str, owner: str, shard: str) -> None:
        self._run("DELETE FROM leftovers WHERE collection = ? AND owner = ? AND shard = ?", collection, owner, shard)

    def set_home(self, collection: str, owner: str, home: str) -> None:
        """The owner's home from now on; where it was, is a leftover."""
        with self._guard:
            party = self._parties[collection][owner]
            self._db.execute("BEGIN")
            self._run("UPDATE parties SET home = ? WHERE collection = ? AND name = ?", home, collection, owner)
            self._run("DELETE FROM leftovers WHERE collection = ? AND owner = ? AND shard = ?", collection, owner, home)
            self._run("INSERT OR IGNORE INTO leftovers VALUES (?, ?, ?)", collection, owner, party.home)
            self._db.execute("COMMIT")
            for grantee in party.granted_to:
                sources = self._parties[collection][grantee].sources
                sources[home] += 1
                _take(sources, party.home)
            party.home = home
            self.moves += 1

    # ----

    def _load(self) -> None:
        parties: defaultdict[str, dict[str, Party]] = defaultdict(dict)
        for collection, name, is_role, home, quota, made in self._run("SELECT * FROM parties"):
            parties[collection][name] = Party(name, bool(is_role), home, Quota.model_validate_json(quota), bool(made))
        for collection, role, tenant in self._run("SELECT * FROM members"):
            parties[collection][tenant].roles.add(role)
        for collection, owner, grantee in self._run("SELECT * FROM grants"):
            parties[collection][owner].granted_to.add(grantee)
            parties[collection][grantee].sources[parties[collection][owner].home] += 1
        self._parties = parties
        self._collections = {name: (bool(made), metric) for name, made, metric in self._run("SELECT * FROM collections")}

    def _meta(self, key: str) -> str:
        return self._run("SELECT value FROM meta WHERE key = ?", key)[0][0]

    def _run(self, statement: str, *values: Any) -> list[Any]:
        with self._guard:
            return self._db.execute(statement, values).fetchall()


def _take(sources: Counter[str], shard: str) -> None:
    sources[shard] -= 1
    if not sources[shard]:
        del sources[shard]


def _text(quota: Quota) -> str:
    return quota.model_dump_json(exclude_none=True)
