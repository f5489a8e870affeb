"""One tenant in a file: what it owns, its quota, and the names of those who see its points. For backup, restore and moving.

The file is a header and frames, like a segment of the log: ExportHeader, then Upsert and ExportGrant in turn, then ExportEnd. Rows
in it count from 0. A file without its end, with a wrong checksum, or whose content would not be accepted from a user, imports nothing.
"""
from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from . import frames, payloads, vectors
from .contents import Contents, index_ids
from .core import Core
from .disk import translated
from .errors import Damaged, Invalid
from .ids import ROWS_MAX
from .model import CollectionConfig, Quota
from .parties import Party
from .quota import check_room
from .records import Change, keys_of, pack_keys, pack_payloads, pack_rows, payloads_of, pb, rows_of
from .tenants import checked_name

MAGIC = b"MRPCVTEN"
CHUNK = 1000


class Transfer(Core):
    def export_tenant(self, tenant: str, path: str | Path) -> int:
        """Writes the tenant to a file; how many points. Each is as it was at some moment meanwhile. NotFound; DiskFull."""
        party = self._contents.parties.tenant(tenant)
        with translated(path), open(path, "wb") as file:
            file.write(frames.header(MAGIC, 0, 1))
            count = 0
            for sequence, change in enumerate(_exported(self._contents, party), 1):
                file.writelines(frames.encode(change.SerializeToString(), sequence, 0, more=False))
                count += len(change.upsert.rows) // 4
            file.flush()
            os.fsync(file.fileno())
        return count

    def import_tenant(self, path: str | Path, name: str | None = None) -> int:
        """Makes a tenant, under the name that it had or another, of an exported file; how many points. All of it, or nothing.

        It is granted to those of the names in the file that are here. Damaged for a file that is not whole; Invalid for one of another
        kind of collection, or with a content that no export has; AlreadyExists when the name is taken; QuotaExceeded; DiskFull.
        """
        contents = list(_Imported(_bodies(Path(path)), self.config, Path(path)))
        header, chunks = contents[0].export_header, contents[1:-1]
        with self._journal.writing() as write:
            parties = self._contents.parties
            party = parties.new(checked_name(name or header.tenant), is_role=False, quota=Quota.model_validate_json(header.quota or "{}"))
            upserts = [_owned(change, party.number) for change in chunks if change.HasField("upsert")]
            grants = [_granted(change, party.number, found.number) for change in chunks
                      if change.HasField("export_grant") and (found := parties.find(change.export_grant.to))]
            self._commit_all(write, [*upserts, Change(party=party), *grants])  # in this order nobody can ask for a part of its points
        return contents[-1].export_end.points


def _exported(contents: Contents, party: Party) -> Iterator[Change]:
    namespace, done = contents.namespace(party.number), 0
    rows = namespace.all_rows()
    config, quota = contents.config.model_dump_json(), party.quota.model_dump_json(exclude_none=True)
    yield Change(export_header=pb.ExportHeader(config=config, tenant=party.name, quota=quota))
    for start in range(0, len(rows), CHUNK):
        upsert, grants = _chunk(contents, party, rows[start:start + CHUNK], done)
        done += upsert.fresh
        yield Change(upsert=upsert)
        yield from (Change(export_grant=pb.ExportGrant(to=name, rows=pack_rows(seen))) for name, seen in grants.items())
    yield Change(export_end=pb.ExportEnd(points=done))


def _chunk(contents: Contents, party: Party, rows: np.ndarray, first: int) -> tuple[pb.Upsert, dict[str, list[int]]]:
    """Points of the rows, and who sees them, without those that were deleted meanwhile."""
    index, state = contents.index, contents.namespace(party.number).state
    keys, texts, stored, grants = [], [], [], defaultdict(list)
    for row, point in zip(rows.tolist(), index_ids(party.number, rows).tolist(), strict=True):
        try:
            vector, seen_by, key, text = index.vectors([point])[0], index.tenants(point), state.key(row), state.payload(row)
        except LookupError:
            continue
        for number in seen_by.tolist():
            if number != party.number and (name := contents.parties.find_name(number)):
                grants[name].append(first + len(keys))
        keys.append(key), texts.append(text), stored.append(vector)
    low, high = pack_keys(keys)
    sizes, joined = pack_payloads(texts)
    numbers = pack_rows(range(first, first + len(keys)))
    return pb.Upsert(fresh=len(keys), rows=numbers, keys_low=low, keys_high=high, vectors=b"".join(map(bytes, stored)),
                     payload_sizes=sizes, payloads=joined), grants


def _bodies(path: Path) -> Iterator[memoryview]:
    """The frames of a file. Damaged when it is not whole."""
    reader, _, _ = frames.open_file(path, MAGIC)
    for bodies in reader:
        yield from bodies
    if reader.end != reader.size:
        raise Damaged(f"{path}: offset {reader.end}: record {reader.sequence + 1} is cut short or damaged; export the tenant again")


class _Imported:
    """Iterates over the changes of a file, each checked as if a user had asked for it."""

    def __init__(self, bodies: Iterator[memoryview], config: CollectionConfig, path: Path) -> None:
        self._bodies, self._config, self._path = bodies, config, path
        self._points = self._bytes = 0
        self._keys: set[int] = set()
        self._quota = Quota()
        self._ended = False

    def __iter__(self) -> Iterator[Change]:
        first = True
        for body in self._bodies:
            try:
                change = Change.FromString(bytes(body))
            except DecodeError:
                raise self._invalid("a record that is none") from None
            if self._ended or (change.WhichOneof("change") == "export_header") != first:
                raise self._invalid("records out of order")
            yield self._checked(change)
            first = False
        if not self._ended:
            raise Damaged(f"{self._path}: ends too early; export the tenant again")

    def _invalid(self, what: str) -> Invalid:
        return Invalid(f"{self._path} is not what an export writes: {what}")

    def _checked(self, change: Change) -> Change:
        kind = change.WhichOneof("change")
        check: dict[str | None, Callable[[Any], Change]] = {
            "export_header": self._header, "upsert": self._upsert, "export_grant": self._grant, "export_end": self._end}
        if kind not in check:
            raise self._invalid(f"a record of the kind {kind}")
        return check[kind](getattr(change, kind))

    def _header(self, header: pb.ExportHeader) -> Change:
        try:
            found = CollectionConfig.model_validate_json(header.config)
            self._quota = Quota.model_validate_json(header.quota or "{}")
        except ValidationError:
            raise self._invalid("the settings in its header") from None
        for name in ("dim", "metric", "dtype"):
            if getattr(found, name) != getattr(self._config, name):
                raise Invalid(f"{self._path} is of a collection with {name} {getattr(found, name)}, this one has {getattr(self._config, name)}")
        return Change(export_header=header)

    def _upsert(self, upsert: pb.Upsert) -> Change:
        count, high = len(upsert.rows) // 4, len(upsert.keys_high)
        lengths = (len(upsert.rows), len(upsert.keys_low), len(upsert.vectors), len(upsert.payload_sizes))
        if lengths != (4 * count, 8 * count, count * self._config.vector_bytes, 4 * count) or high not in (0, 8 * count) or count > CHUNK:
            raise self._invalid("a batch whose columns have different lengths")
        if int(rows_of(upsert.payload_sizes).sum(dtype=np.uint64)) != len(upsert.payloads) or upsert.fresh != count:
            raise self._invalid("a batch whose sizes do not add up")
        if not np.array_equal(rows_of(upsert.rows), np.arange(self._points, self._points + count)) or self._points + count > ROWS_MAX:
            raise self._invalid("rows out of order")
        keys = keys_of(upsert.keys_low, upsert.keys_high)
        self._check_keys(keys)
        stored = np.frombuffer(upsert.vectors, self._config.dtype).reshape(count, self._config.dim)
        upsert.vectors = vectors.checked(self._config, stored).tobytes()
        texts = list(map(payloads.pack, payloads_of(upsert.payload_sizes, upsert.payloads)))
        upsert.payload_sizes, upsert.payloads = pack_payloads(texts)
        self._points += count
        self._bytes += len(upsert.payloads)
        check_room("of the file", self._quota, self._points, self._points * self._config.vector_bytes + self._bytes)
        return Change(upsert=upsert)

    def _check_keys(self, keys: Sequence[int]) -> None:
        before = len(self._keys)
        self._keys.update(keys)
        if len(self._keys) != before + len(keys):
            raise self._invalid("an id given twice")

    def _grant(self, grant: pb.ExportGrant) -> Change:
        if len(grant.rows) % 4 or (rows_of(grant.rows) >= self._points).any():
            raise self._invalid("a grant of points that are not there")
        return Change(export_grant=grant)

    def _end(self, end: pb.ExportEnd) -> Change:
        self._ended = True
        if end.points != self._points:
            raise self._invalid(f"{self._points} points, and an end that says {end.points}")
        return Change(export_end=end)


def _owned(change: Change, owner: int) -> Change:
    change.upsert.owner = owner
    return change


def _granted(change: Change, owner: int, to: int) -> Change:
    ids = index_ids(owner, rows_of(change.export_grant.rows))
    return Change(grant=pb.Grant(ids=ids.tobytes(), parties=[to]))
