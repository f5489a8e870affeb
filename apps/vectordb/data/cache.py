"""Built data sets on disk: one .npz each, written beside its place and renamed, so that it is whole or absent.

A zip file carries a checksum of every member, which reading compares; a file that is damaged is built again.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import Dataset

VERSION = 1  # of what the builders make of their sources; a new one leaves older files unread
NAMES = ("tenant_names", "texts")  # tuples of str, kept as bytes between zeros


def folder() -> Path:
    """$XDG_CACHE_HOME/mrpc-mesh/vectordb, in ~/.cache by default."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "mrpc-mesh" / "vectordb"


def cached(name: str, build: Callable[[], Dataset]) -> Dataset:
    """The data set of this name from the cache, or built and kept there."""
    path = place(name)
    try:
        return read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):  # absent or damaged
        data = build()
    write(path, data)
    return data


def place(name: str) -> Path:
    return folder() / f"{name}-v{VERSION}.npz"


def read(path: Path) -> Dataset:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return Dataset(**{field.name: unpack(field.name, file[field.name]) for field in fields(Dataset)})


def write(path: Path, data: Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            np.savez(file, **{field.name: pack(getattr(data, field.name)) for field in fields(Dataset)})
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def pack(value: Any) -> np.ndarray:
    return np.frombuffer("\0".join(value).encode(), np.uint8) if isinstance(value, tuple) else np.asarray(value)


def unpack(name: str, value: np.ndarray) -> Any:
    if name in NAMES:
        return tuple(value.tobytes().decode().split("\0")) if len(value) else ()
    return str(value) if value.ndim == 0 else value
