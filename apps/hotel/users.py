"""Who may book. Knows nothing of RPC.

Passwords are kept as the benchmark keeps them, as one round of unsalted SHA-256, so that the work of a check is the
benchmark's; a service with real guests would use a slow salted hash.
"""
from __future__ import annotations

import hashlib
import hmac
import sqlite3
from pathlib import Path

from . import data
from .storage import Database


class Users:
    _SCHEMA = ("CREATE TABLE user (name TEXT PRIMARY KEY, password TEXT) WITHOUT ROWID",)

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "user.db", self._SCHEMA, self._seed)

    def check(self, name: str, password: str) -> bool:
        """Whether there is such a user with that password."""
        rows = self._database.query("SELECT password FROM user WHERE name = ?", (name,))
        return bool(rows) and hmac.compare_digest(rows[0][0], digest(password))

    @staticmethod
    def _seed(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO user VALUES (?,?)",
                               [(name, digest(password)) for name, password in data.users()])


def digest(password: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(password.encode()).hexdigest()
