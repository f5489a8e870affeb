"""One tenant in a file: what it owns, its quota, and the names of those who see its points. For backup, restore and moving.

How the file is made up says imported.py. One without its end, with a wrong checksum, or whose content would not be accepted from a user, imports
nothing.
"""
from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from . import frames, imported
from .contents import Contents, index_ids
from .core import Core
from .disk import translated
from .errors import Invalid
from .ids import numbers
from .imported import CHUNK, MAGIC
from .model import Quota
from .parties import Party
from .records import Change, keys_of, pack_rows, pb, rows_of
from .tenants import checked_name
from .upserts import Batch, Placing, packed

Conflicts = Literal["refuse", "replace", "skip"]


class Transfer(Core):
    def export_tenant(self, tenant: str, path: str | Path) -> int:
        """Writes the tenant to a file; how many points. Each is as it was at some moment meanwhile. NotFound; DiskFull."""
        return export(self._contents, tenant, path)

    def import_tenant(self, path: str | Path, name: str | None = None, *, conflicts: Conflicts = "refuse") -> int:
        """Brings an exported file back, under the name that the tenant had or another; how many points were written. All, or nothing.

        conflicts: for a tenant that is there already. refuse: AlreadyExists. replace: points of the file take the place of those with
        their ids, whose grants stay; skip: those stay as they are. The tenant's other points stay in any case, and so does its quota, which counts;
        a new tenant has the file's. Points that were written are granted to those of the names in the file that are here.
        Damaged for a file that is not whole; Invalid for one of another kind of collection, or with a content that no export has;
        AlreadyExists for a role's name; QuotaExceeded; DiskFull.
        """
        if conflicts not in get_args(Conflicts):
            raise Invalid(f"conflicts is one of {', '.join(get_args(Conflicts))}, not {conflicts!r}")
        found = imported.read(Path(path), self.config)
        with self._journal.writing() as write:
            party, made = self._importing(checked_name(name or found.tenant), found.quota, conflicts)
            arrival = _Arrival(Placing(self._contents, party.number), skip=conflicts == "skip")
            upserts = [Change(upsert=upsert) for batch in found.batches if (upsert := arrival.place(batch))]
            self._check_room(party, arrival.placing.fresh, arrival.placing.growth)
            others = ((self._contents.parties.find(to), numbers) for to, numbers in found.shown)
            grants = [Change(grant=grant) for other, numbers in others if other and (grant := arrival.grant(party.number, other.number, numbers))]
            self._commit_all(write, [*upserts, *made, *grants])  # in this order nobody can ask for a part of a new tenant's points
        return arrival.count

    def _importing(self, name: str, quota: Quota, conflicts: Conflicts) -> tuple[Party, list[Change]]:
        """The tenant, and what makes it when it is not there. AlreadyExists."""
        there = self._contents.parties.find(name)
        if there is not None and not there.is_role and conflicts != "refuse":
            return there, []
        message = self._contents.parties.new(name, is_role=False, quota=quota)
        made = Party(message.number, name, is_role=False)
        made.quota = quota
        return made, [Change(party=message)]


class _Arrival:
    """Where points of a file go. skip: not in the place of those that are there."""

    def __init__(self, placing: Placing, *, skip: bool) -> None:
        self.placing, self._skip = placing, skip
        self._rows: list[int] = []  # by their numbers in the file; -1: nowhere
        self.count = 0

    def place(self, batch: Batch) -> pb.Upsert | None:
        """What writes them, if any are to be written."""
        taken = [at for at, key in enumerate(batch.keys) if not (self._skip and self.placing.knows(key))]
        upsert = self.placing.place(batch.taken(taken))
        placed = dict(zip(keys_of(upsert.keys_low, upsert.keys_high), rows_of(upsert.rows).tolist(), strict=True))
        self._rows += [placed.get(key, -1) for key in batch.keys]
        self.count += len(taken)
        return upsert if taken else None

    def grant(self, owner: int, to: int, numbers: np.ndarray) -> pb.Grant | None:
        rows = np.array(self._rows, np.int64)[numbers]
        written = rows[rows >= 0].astype(np.uint32)
        return pb.Grant(ids=index_ids(owner, written).tobytes(), parties=[to]) if len(written) and to != owner else None


def export(contents: Contents, tenant: str, path: str | Path) -> int:
    """As Transfer.export_tenant()."""
    party = contents.parties.tenant(tenant)
    with translated(path), open(path, "wb") as file:
        file.write(frames.header(MAGIC, 0, 1))
        count = 0
        for sequence, change in enumerate(_exported(contents, party), 1):
            file.writelines(frames.encode(change.SerializeToString(), sequence, 0, more=False))
            count += len(change.upsert.rows) // 4
        file.flush()
        os.fsync(file.fileno())
    return count


def _exported(contents: Contents, party: Party) -> Iterator[Change]:
    namespace, done = contents.namespace(party.number), 0
    rows = numbers(namespace.rows())
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
    keys, texts, stored, points, grants = [], [], [], [], defaultdict(list)
    for row, point in zip(rows.tolist(), index_ids(party.number, rows).tolist(), strict=True):
        try:
            vector, seen_by, key, text = index.vectors([point])[0], index.tenants(point), state.key(row), state.payload(row)
        except LookupError:
            continue
        for number in seen_by.tolist():
            if number != party.number and (name := contents.parties.find_name(number)):
                grants[name].append(first + len(keys))
        keys.append(key), texts.append(text), stored.append(vector), points.append(point)
    numbers = range(first, first + len(keys))
    columns = np.array(stored, contents.config.dtype).reshape(len(keys), contents.config.dim)
    sparse = contents.sparse_at(np.array(points, np.uint64))
    return packed(0, len(keys), numbers, Batch(keys, columns, texts, sparse)), grants
