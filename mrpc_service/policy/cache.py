"""Compiled objects on disk, by what they were made from and what they are: DIGEST_OF_THE_C.DIGEST_OF_THE_OBJECT.so, in a directory
that nobody else can write."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Set
from pathlib import Path

from mrpc_service.policy.build import BuildError

OBJECTS_MAX = 512


def prepare(directory: Path) -> None:
    """Makes it, or BuildError when others could write there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise BuildError(f"{directory} must be a directory of the daemon's user alone: chmod 700, or remove it")


def look_up(directory: Path, key: str) -> Path | None:
    """The object of `key` if it is there and is what its name says."""
    for path in directory.glob(f"{key}.*.so"):
        try:
            data = path.read_bytes()
        except OSError:
            continue
        if path.name == f"{key}.{hashlib.sha256(data).hexdigest()}.so":
            os.utime(path)
            return path
        path.unlink(missing_ok=True)
    return None


def keep(directory: Path, key: str, data: bytes) -> Path:
    """Under its name all at once, so that nobody sees half of it."""
    path = directory / f"{key}.{hashlib.sha256(data).hexdigest()}.so"
    handle, scratch = tempfile.mkstemp(dir=directory)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), 0o500)
    os.rename(scratch, path)
    return path


def prune(directory: Path, in_use: Set[str], objects_max: int = OBJECTS_MAX) -> int:
    """Removes the least recently used beyond `objects_max`, never one in use. How many went."""
    objects = sorted(directory.glob("*.so"), key=lambda path: path.stat().st_mtime_ns)
    spare = [path for path in objects if str(path) not in in_use]
    excess = spare[:max(0, len(objects) - objects_max)]
    for path in excess:
        path.unlink(missing_ok=True)
    return len(excess)
