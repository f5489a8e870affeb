"""The daemon's embedded store as a file: SQLite in WAL mode, checked when it is opened.

A store that cannot be read is never replaced silently: it is copied aside, the daemon refuses to start and says so, and only
`--reset-store` begins anew (with the configuration files alone, and without apps, owners and applied chains).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from mrpc_service.errors import StartupError

log = logging.getLogger("mrpcd")
SCHEMA_VERSION = 1  # raised when an older mrpcd would misread the store; new tables beside old ones do not
SIDE_FILES = ("-wal", "-shm")
MEND = "mend the file's mode, make room on its disk, or pass --state-dir DIR"


def open_store(path: Path, *, reset: bool = False) -> sqlite3.Connection:
    """Open or make the store. StartupError if it cannot be used, is damaged (unless `reset`), or a newer mrpcd wrote it."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise StartupError(f"cannot use the registry {path}: {error}; {MEND}") from None
        return _recover(path, error, reset)
    except OSError as error:
        raise StartupError(f"cannot use the registry {path}: {error}; {MEND}") from None


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of a block's statements, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk may have ended it already
            db.execute("ROLLBACK")
        raise


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
    try:
        path.chmod(0o600)
        db.execute("PRAGMA journal_mode=WAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StartupError(f"the registry {path} was written by a newer mrpcd; upgrade mrpcd, or pass --state-dir DIR")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(verdict.split()))
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _recover(path: Path, error: sqlite3.DatabaseError, reset: bool) -> sqlite3.Connection:
    kept = set_aside(path)
    if not reset:
        raise StartupError(
            f"cannot use the registry {path}: it is damaged ({error}); a copy is kept as {kept}; restore a backup, or start with "
            "--reset-store, which begins with --config alone and forgets apps, service owners and applied chains"
        )
    for name in ("", *SIDE_FILES):
        path.with_name(path.name + name).unlink(missing_ok=True)
    log.warning("the registry %s was damaged (%s); it is kept as %s, and a new one begins", path, error, kept)
    return _open(path)


def set_aside(path: Path) -> Path:
    """Copy the store to a name made of its content, so that a daemon that is started again and again keeps one copy."""
    kept = path.with_name(f"{path.name}.damaged-{sha256(path.read_bytes()).hexdigest()[:12]}")
    for name in ("", *SIDE_FILES):
        source = path.with_name(path.name + name)
        if source.exists():
            shutil.copy2(source, kept.with_name(kept.name + name))
    return kept
