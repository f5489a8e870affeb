"""Revisions of the policy chains in the daemon's SQLite store: what was in force, who put it there, and what it did.

Protocol of an apply (`chains/apply.py`):

    1. begin()    a row with state 'intent' and everything that a restart or a rollback needs, in one transaction
    2. the data plane switches
    3. commit()   the row is 'committed', with the report; or fail(): it is 'failed', with the reason

What is in force after a restart is the newest 'committed' row. A row that is found as 'intent' is of a daemon that died between 1 and
3: it becomes 'abandoned', and the chains before it come back. Revision numbers are never used twice. Rows are bounded in number and
in bytes, the one in force is never removed, and sources that no row names go with the rows.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from mrpc_service.chains.model import Layers, Record
from mrpc_service.store import transaction

REVISIONS_KEPT = 200
HISTORY_BYTES_MAX = 64 << 20

TABLES = """
CREATE TABLE IF NOT EXISTS revisions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL, state TEXT NOT NULL, at_unix_s REAL NOT NULL,
  operator_uid INTEGER NOT NULL, cause TEXT NOT NULL, changes_json TEXT NOT NULL, chains_json TEXT NOT NULL,
  report_json TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS programs (sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, source TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS revision_programs (
  id INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (id, sha256)) STRICT;
"""


@dataclass(frozen=True)
class Revision:
    id: int
    revision: int
    state: str  # "intent", "committed", "failed", "abandoned"
    at_unix_s: float
    operator_uid: int
    cause: str
    changes: list[str]
    chains: list[Record]
    report: dict[str, Any]


class RevisionStore:
    """Used from the control plane's thread only."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """`db` commits each statement by itself, but within `BEGIN`."""
        self._db = db
        db.executescript(TABLES)

    def begin(self, revision: int, uid: int, cause: str, changes: list[str], layers: Layers) -> int:
        """Write down what is about to be put in force; the row's id."""
        chains = layers.in_force()
        record = json.dumps(layers.records())
        with transaction(self._db):
            row = (revision, time.time(), uid, cause, json.dumps(changes), record)
            added = self._db.execute("INSERT INTO revisions VALUES (NULL, ?, 'intent', ?, ?, ?, ?, ?, '{}')", row).lastrowid
            assert added is not None
            for program in {use.program.source_sha256: use.program for chain in chains for use in chain.uses if use.program}.values():
                self._db.execute(
                    "INSERT OR IGNORE INTO programs VALUES (?, ?, ?)", (program.source_sha256, program.file, program.source)
                )
                self._db.execute("INSERT INTO revision_programs VALUES (?, ?)", (added, program.source_sha256))
        return added

    def commit(self, row: int, report: Mapping[str, Any]) -> None:
        with transaction(self._db):
            self._end(row, "committed", report)
            self._forget_oldest()

    def fail(self, row: int, reason: str) -> None:
        with transaction(self._db):
            self._end(row, "failed", {"error": reason})
            self._forget_oldest()

    def _end(self, row: int, state: str, report: Mapping[str, Any]) -> None:
        self._db.execute("UPDATE revisions SET state = ?, report_json = ? WHERE id = ?", (state, json.dumps(report), row))

    def abandon_intents(self) -> list[Revision]:
        """What a daemon that died had begun and not finished; told once."""
        found = self._select("WHERE state = 'intent' ORDER BY id")
        self._db.execute("UPDATE revisions SET state = 'abandoned' WHERE state = 'intent'")
        return found

    def clear(self) -> None:
        """Forget everything."""
        with transaction(self._db):
            for table in ("revisions", "programs", "revision_programs"):
                self._db.execute(f"DELETE FROM {table}")

    def current(self) -> Revision | None:
        """What is in force, or was when the daemon ended."""
        return next(iter(self._select("WHERE state = 'committed' ORDER BY id DESC LIMIT 1")), None)

    def committed(self, revision: int) -> Revision | None:
        return next(iter(self._select("WHERE state = 'committed' AND revision = ? ORDER BY id DESC LIMIT 1", revision)), None)

    def before(self, revision: int) -> Revision | None:
        """The newest revision below this one that was in force."""
        return next(iter(self._select("WHERE state = 'committed' AND revision < ? ORDER BY id DESC LIMIT 1", revision)), None)

    def after(self, revision: int) -> list[Revision]:
        """What came into force after this one, oldest first."""
        return self._select("WHERE state = 'committed' AND revision > ? ORDER BY id", revision)

    def history(self, limit: int) -> list[Revision]:
        """Newest first."""
        return self._select("ORDER BY id DESC LIMIT ?", limit)

    def next_revision(self) -> int:
        (highest,) = self._db.execute("SELECT max(revision) FROM revisions").fetchone()
        return (highest or 0) + 1

    def sources(self, hashes: Iterable[str]) -> dict[str, str]:
        """Source of each program by its SHA-256. sqlite3.DatabaseError for one that is missing or is not what it was."""
        found = {}
        for wanted in hashes:
            row = self._db.execute("SELECT source FROM programs WHERE sha256 = ?", (wanted,)).fetchone()
            if row is None or sha256(row[0].encode()).hexdigest() != wanted:
                raise sqlite3.DatabaseError(f"the source of program {wanted[:12]} is missing or damaged")
            found[wanted] = row[0]
        return found

    def _select(self, where: str, *values: Any) -> list[Revision]:
        rows = self._db.execute(f"SELECT * FROM revisions {where}", values).fetchall()
        return [Revision(*row[:6], *(json.loads(text) for text in row[6:])) for row in rows]

    def _forget_oldest(self) -> None:
        """Keep to both bounds; what is in force always stays."""
        current = self.current()
        held = 0
        rows = self._db.execute("SELECT id, length(chains_json) + length(report_json) FROM revisions ORDER BY id DESC").fetchall()
        for kept, (row, size) in enumerate(rows, 1):
            held += size
            if kept > REVISIONS_KEPT or held > HISTORY_BYTES_MAX:
                self._db.execute("DELETE FROM revisions WHERE id <= ? AND id != ?", (row, current.id if current else 0))
                self._db.execute("DELETE FROM revision_programs WHERE id NOT IN (SELECT id FROM revisions)")
                self._db.execute("DELETE FROM programs WHERE sha256 NOT IN (SELECT sha256 FROM revision_programs)")
                return
