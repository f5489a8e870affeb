"""A file of one tenant, read. Nothing in it is trusted: what it holds is checked as if a user had asked for it.

The file is a header and frames, like a segment of the log: ExportHeader, then Upsert and ExportGrant in turn, then ExportEnd. Rows
in it count from 0.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from . import frames, payloads, vectors
from .errors import Damaged, Invalid
from .ids import ROWS_MAX
from .model import CollectionConfig, Quota, SparseColumns
from .records import Change, keys_of, payloads_of, pb, rows_of
from .sparse.columns import checked_all, of_message
from .upserts import Batch

MAGIC = b"MRPCVTEN"
CHUNK = 1000
"""Points in a batch of a file, at most."""


@dataclass
class Imported:
    """What a file holds. shown: name of a tenant or role, and which points it sees, u32[n], by their numbers in the file."""

    config: CollectionConfig
    tenant: str
    quota: Quota
    batches: list[Batch] = field(default_factory=list)
    shown: list[tuple[str, np.ndarray]] = field(default_factory=list)
    points: int = 0


def read(path: Path, config: CollectionConfig) -> Imported:
    """A file for a collection of that kind. Damaged when it is not whole; Invalid for a collection of another kind, or a content that
    no export has."""
    reader = _Reader(path, _bodies(path))
    found = reader.begin()
    for name in ("dim", "metric", "dtype"):
        if getattr(found.config, name) != getattr(config, name):
            raise Invalid(f"{path} is of a collection with {name} {getattr(found.config, name)}, this one has {getattr(config, name)}")
    found.config = config  # whose sparse vectors they are to be
    return reader.rest()


def config_in(path: Path) -> CollectionConfig:
    """Of the collection that the file is from. Damaged; Invalid."""
    return _Reader(path, _bodies(path)).begin().config


def _bodies(path: Path) -> Iterator[memoryview]:
    reader, _, _ = frames.open_file(path, MAGIC)
    for bodies in reader:
        yield from bodies
    if reader.end != reader.size:
        raise Damaged(f"{path}: offset {reader.end}: record {reader.sequence + 1} is cut short or damaged; export the tenant again")


class _Reader:
    def __init__(self, path: Path, bodies: Iterator[memoryview]) -> None:
        self._path, self._bodies = path, bodies
        self._keys: set[int] = set()
        self._found: Imported

    def _next(self) -> tuple[str | None, Any]:
        """A record's kind and content."""
        if (body := next(self._bodies, None)) is None:
            raise Damaged(f"{self._path}: ends too early; export the tenant again")
        try:
            change = Change.FromString(bytes(body))
        except DecodeError:
            raise self._invalid("a record that is none") from None
        kind = change.WhichOneof("change")
        return kind, getattr(change, kind) if kind else None

    def _invalid(self, what: str) -> Invalid:
        return Invalid(f"{self._path} is not what an export writes: {what}")

    def begin(self) -> Imported:
        """What the header says."""
        kind, header = self._next()
        if kind != "export_header":
            raise self._invalid("records out of order")
        try:
            config, quota = CollectionConfig.model_validate_json(header.config), Quota.model_validate_json(header.quota or "{}")
        except ValidationError:
            raise self._invalid("the settings in its header") from None
        self._found = Imported(config, header.tenant, quota)
        return self._found

    def rest(self) -> Imported:
        """All of it."""
        takes: dict[str | None, Callable[[Any], None]] = {"upsert": self._upsert, "export_grant": self._grant}
        while (record := self._next())[0] != "export_end":
            if record[0] not in takes:
                raise self._invalid(f"a record of the kind {record[0]}, or out of order")
            takes[record[0]](record[1])
        if record[1].points != self._found.points:
            raise self._invalid(f"{self._found.points} points, and an end that says {record[1].points}")
        if next(self._bodies, None) is not None:  # asked in any case: it complains of what is no record
            raise self._invalid("records out of order")
        return self._found

    def _upsert(self, upsert: pb.Upsert) -> None:
        config, count, high = self._found.config, len(upsert.rows) // 4, len(upsert.keys_high)
        lengths = (len(upsert.rows), len(upsert.keys_low), len(upsert.vectors), len(upsert.payload_sizes))
        if lengths != (4 * count, 8 * count, count * config.vector_bytes, 4 * count) or high not in (0, 8 * count) or count > CHUNK:
            raise self._invalid("a batch whose columns have different lengths")
        if int(rows_of(upsert.payload_sizes).sum(dtype=np.uint64)) != len(upsert.payloads) or upsert.fresh != count:
            raise self._invalid("a batch whose sizes do not add up")
        first = self._found.points
        if not np.array_equal(rows_of(upsert.rows), np.arange(first, first + count)) or first + count > ROWS_MAX:
            raise self._invalid("rows out of order")
        keys = keys_of(upsert.keys_low, upsert.keys_high)
        self._keys.update(keys)
        if len(self._keys) != first + count:
            raise self._invalid("an id given twice")
        given = vectors.checked(config, np.frombuffer(upsert.vectors, config.dtype).reshape(count, config.dim))
        texts = list(map(payloads.pack, payloads_of(upsert.payload_sizes, upsert.payloads)))
        self._found.batches.append(Batch(keys, given, texts, self._sparse(upsert, count)))
        self._found.points += count

    def _sparse(self, upsert: pb.Upsert, count: int) -> dict[str, SparseColumns]:
        try:
            given = {each.name: of_message(each) for each in upsert.sparse}
        except ValueError:
            raise self._invalid("sparse vectors cut short") from None
        return checked_all(self._found.config, given, count)

    def _grant(self, grant: pb.ExportGrant) -> None:
        if len(grant.rows) % 4 or (rows_of(grant.rows) >= self._found.points).any():
            raise self._invalid("a grant of points that are not there")
        self._found.shown.append((grant.to, rows_of(grant.rows)))
