"""Writes of points. Each is checked and decided under the writer's lock, logged as one record, then done: whole or not at all."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import filters, payloads, vectors
from .contents import index_ids
from .core import Core, describe_ref
from .errors import Denied, Invalid, NotFound
from .ids import keys_of
from .model import BATCH_BYTES_MAX, POINTS_MAX, REWRITE_BYTES_MAX, Payload, Point, PointId, Points, Ref
from .parties import Party
from .queries import split
from .records import Change, pack_payloads, pack_rows, pb
from .sparse.columns import checked_all
from .upserts import Batch, Placing

Which = Sequence[Ref] | np.ndarray | filters.Filter | Mapping[str, Any]


class WriteOperations(Core):
    def upsert(self, tenant: str, points: Points | Sequence[Point], *, keep_payloads: bool = False) -> int:
        """Writes points of the tenant: new ones, or new vectors and payloads for ids that it has (their grants stay). How many.

        keep_payloads: only vectors, for points that it has; NotFound for the first that it has not. Sparse vectors of names that the batch
        does not have stay too. Invalid for an id given twice, a vector or payload that is none, a sparse vector that is none or whose
        name the collection has not, more than POINTS_MAX points or BATCH_BYTES_MAX bytes;
        QuotaExceeded, for the whole batch, when it would exceed a limit.
        """
        batch = points if isinstance(points, Points) else _columns(points)
        party = self._admit(tenant, max(1, len(batch.ids)))
        checked = self._checked(batch)
        if not checked.keys:
            return 0
        with self._journal.writing() as write:
            party = self._contents.parties.tenant(tenant)  # it may have been dropped since
            if keep_payloads:
                checked = self._with_kept(party, self._own_rows(party, batch.ids, missing_ok=False), checked)
            placing = Placing(self._contents, party.number)
            change = Change(upsert=placing.place(checked))
            self._check_room(party, placing.fresh, placing.growth)
            done = self._commit(write, change)
        self._contents.tallies.add(party.number, points_written=done)
        return done

    def _checked(self, batch: Points) -> Batch:
        keys = keys_of(batch.ids)
        if len(keys) > POINTS_MAX:
            raise Invalid(f"a batch has at most {POINTS_MAX} points, not {len(keys)}")
        if len(set(keys)) < len(keys):
            raise Invalid("an id is given twice in one batch")
        given = vectors.checked(self.config, batch.vectors) if keys else np.empty((0, self.config.dim), self.config.dtype)
        texts = [payloads.EMPTY] * len(keys) if batch.payloads is None else list(map(payloads.pack, batch.payloads))
        if not len(keys) == len(given) == len(texts):
            raise Invalid(f"a batch has as many ids, vectors and payloads: not {len(keys)}, {len(given)} and {len(texts)}")
        checked = Batch(keys, given, texts, checked_all(self.config, batch.sparse, len(keys)))
        if given.nbytes + checked.loose_bytes > BATCH_BYTES_MAX:
            raise Invalid(f"a batch has at most {BATCH_BYTES_MAX} bytes of vectors and payloads")
        return checked

    def _with_kept(self, party: Party, rows: list[int], batch: Batch) -> Batch:
        """With the payloads that rows have, and their sparse vectors of other names."""
        kept = self._contents.sparse_at(index_ids(party.number, np.array(rows, np.uint32)))
        texts = list(map(self._contents.namespace(party.number).state.payload, rows))
        return batch._replace(texts=texts, sparse=kept | batch.sparse)

    def delete(self, tenant: str, which: Which) -> int:
        """Deletes points of the tenant, for everybody; how many. Ids that are not there count as deleted before.

        For a point of another: Denied when the tenant sees it, else NotFound.
        """
        return self._change_rows(tenant, which, "points_deleted", missing_ok=True, make=lambda party, rows: Change(
            delete=pb.Delete(owner=party.number, rows=pack_rows(rows))))

    def grant(self, tenant: str, which: Which, to: str | Sequence[str]) -> int:
        """Lets tenants or roles see points of the tenant; how many pairs are new. NotFound for an unknown point, tenant or role; Denied as delete."""
        return self._share(tenant, which, to, revoked=False)

    def revoke(self, tenant: str, which: Which, from_: str | Sequence[str]) -> int:
        """Takes grants back; how many pairs there were. Errors as grant; what was not granted is none."""
        return self._share(tenant, which, from_, revoked=True)

    def _share(self, tenant: str, which: Which, names: str | Sequence[str], revoked: bool) -> int:
        def make(party: Party, rows: Sequence[int]) -> Change | None:
            others = {self._contents.parties.any(name).number for name in ([names] if isinstance(names, str) else names)} - {party.number}
            ids = index_ids(party.number, np.asarray(rows, np.uint32))
            return Change(grant=pb.Grant(ids=ids.tobytes(), parties=sorted(others), revoked=revoked)) if others else None

        return self._change_rows(tenant, which, "grants", missing_ok=False, make=make)

    def set_payload(self, tenant: str, which: Which, payload: Payload, *, replace: bool = False, key: str = "") -> int:
        """Sets the fields of `payload` in points of the tenant, or in the object at the path `key` in them, and takes away those that are
        null; or makes it all their payload (replace); how many. Errors as grant and upsert."""
        payloads.pack(payload)
        return self._rewrite(tenant, which, lambda old: payload if replace else payloads.merged(old, payload, key))

    def delete_payload(self, tenant: str, which: Which, keys: Sequence[str]) -> int:
        """Removes what is at the paths `keys` from the payloads of points of the tenant; how many points. Errors as grant."""
        return self._rewrite(tenant, which, lambda old: payloads.without(old, keys))

    def _rewrite(self, tenant: str, which: Which, change: Any) -> int:
        def make(party: Party, rows: Sequence[int]) -> Change:
            texts, size, growth = [], 0, 0
            for old in map(self._contents.namespace(party.number).state.payload, rows):
                texts.append(payloads.pack(change(payloads.unpack(old))))
                size, growth = size + len(texts[-1]), growth + len(texts[-1]) - len(old)
                if size > REWRITE_BYTES_MAX:
                    raise Invalid(f"a call changes payloads of at most {REWRITE_BYTES_MAX} bytes: choose fewer points at a time")
            self._check_room(party, 0, growth)
            sizes, joined = pack_payloads(texts)
            return Change(set_payload=pb.SetPayload(owner=party.number, rows=pack_rows(rows), payload_sizes=sizes, payloads=joined))

        return self._change_rows(tenant, which, "points_written", missing_ok=False, make=make)

    def _change_rows(self, tenant: str, which: Which, counter: str, *, missing_ok: bool, make: Any) -> int:
        """Picks rows of the tenant's own points and commits what `make` says of them; how many it concerned."""
        wanted = self._as_filter(which)
        self._admit(tenant)
        with self._journal.writing() as write:
            party = self._contents.parties.tenant(tenant)
            rows = self._own_rows(party, which, missing_ok) if wanted is None else self._queries.own_matching(party, wanted).tolist()
            change = make(party, rows) if rows else None
            done = self._commit(write, change) if change else 0
        self._contents.tallies.add(party.number, **{counter: done})
        return done

    def _own_rows(self, party: Party, refs: Any, missing_ok: bool) -> list[int]:
        lookup = self._contents.namespace(party.number).warm().lookup
        if isinstance(refs, str | bytes | int) or not hasattr(refs, "__iter__"):
            raise Invalid("give a list of ids, or a filter")
        keys = keys_of(refs if isinstance(refs, np.ndarray) else [self._own_id(party, ref) for ref in refs])
        rows = list(map(lookup.get, keys))
        if None in rows:
            if not missing_ok:
                raise NotFound(f"there is no point {describe_ref(list(refs)[rows.index(None)])}")
            rows = [row for row in rows if row is not None]
        return list(dict.fromkeys(rows))

    def _own_id(self, party: Party, ref: Ref) -> PointId:
        """The id of the tenant's own point. Denied, or NotFound, for another's."""
        owner, point = split(party, ref)
        if owner != party.name:
            self._queries.locate(party, ref)
            raise Denied(f"point {describe_ref(ref)} is not tenant {party.name!r}'s to change")
        return point


def _columns(points: Sequence[Point]) -> Points:
    try:
        ids, given, texts, named = zip(*(Point(*each) for each in points), strict=True) if points else ((), (), (), ())
        names = dict.fromkeys(name for each in named if each for name in each)
        return Points(ids, given, texts, {name: [each.get(name) if each else None for each in named] for name in names})
    except (TypeError, ValueError, AttributeError):
        raise Invalid("a batch is Points, or a sequence of Point(id, vector, payload, sparse)") from None
