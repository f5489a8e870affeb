"""One SQLite file for each service that owns data. Knows nothing of RPC.

A file is created and seeded in one transaction, told done by its user_version: any number of processes may start on it
at once, and a start that dies half way leaves nothing. They take turns by a lock beside the file, as SQLite answers
"locked" at once, whatever the timeout, to two that turn one file to WAL. WAL lets readers go on while one writes.
Threads have a connection each, opened on first use.
"""
from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Seed = Callable[[sqlite3.Connection], None]
LOCK_TIMEOUT_S = 10.0


class Database:
    """Opens (creating and seeding, if need be) the file at path.

    schema is a script of CREATE statements; seed fills the new tables. durable: a commit survives a power cut, not
    only a crash of the process. Raises sqlite3.DatabaseError when the file is not ours.
    """

    def __init__(self, path: Path, schema: Sequence[str], seed: Seed, *, durable: bool = False) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "NORMAL"
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # until it is closed
            self._create(schema, seed)

    def _create(self, schema: Sequence[str], seed: Seed) -> None:
        with self.transaction() as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in schema:
                    connection.execute(statement)
                seed(connection)
                connection.execute("PRAGMA user_version = 1")

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:
        """All rows of one read."""
        return self._connection().execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The one writer: waits for its turn before it reads, commits at the end, rolls back on any exception."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._local.connection = connection
        return connection


def id_list(ids: Sequence[str]) -> str:
    """The ids as one parameter, for `IN (SELECT value FROM json_each(?))`: one prepared statement for any number."""
    return json.dumps(list(ids))
