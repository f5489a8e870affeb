"""One answer from those of several shards."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

_KINDS = ("boolean", "integer", "keyword", "number")


class Row(NamedTuple):
    """The at-th point of a Records message."""

    records: Any
    at: int


def owners(records: Any, tenant: str) -> list[str]:
    """Of each point."""
    if not records.owners:
        return [tenant] * len(records.ids)
    names = list(records.owners)
    return [names[each] for each in records.owner]


def names(records: Any, tenant: str) -> list[tuple[str, int, str]]:
    """Who each point is: (owner, number, UUID)."""
    uuids = records.uuids or [""] * len(records.ids)
    return list(zip(owners(records, tenant), records.ids, uuids, strict=True))


def gather(pb: Any, rows: Sequence[Row], tenant: str) -> Any:
    """A Records message of those points."""
    merged = pb.Records()
    known = {id(row.records): row.records for row in rows}
    owned = {key: owners(records, tenant) for key, records in known.items()}
    whose = [owned[id(row.records)][row.at] for row in rows]
    if any(each != tenant for each in whose):
        places = {name: place for place, name in enumerate(dict.fromkeys(whose))}
        merged.owners.extend(places)
        merged.owner.extend(places[each] for each in whose)
    merged.ids.extend(row.records.ids[row.at] for row in rows)
    if any(len(records.uuids) for records in known.values()):
        merged.uuids.extend(row.records.uuids[row.at] if len(row.records.uuids) else "" for row in rows)
    if any(len(records.payloads) for records in known.values()):
        merged.payloads.extend(row.records.payloads[row.at] for row in rows)
    _gather_vectors(merged, rows, known.values())
    _gather_sparse(merged, rows, known)
    return merged


def _gather_vectors(merged: Any, rows: Sequence[Row], known: Iterable[Any]) -> None:
    stored = {id(records): bytes(records.vectors) for records in known}
    if not any(stored.values()):
        return
    parts = []
    for records, at in rows:
        data, width = stored[id(records)], len(stored[id(records)]) // len(records.ids)
        parts.append(data[at * width:(at + 1) * width])
    merged.vectors, merged.dtype = b"".join(parts), rows[0].records.dtype


def _gather_sparse(merged: Any, rows: Sequence[Row], known: dict[int, Any]) -> None:
    kinds = {key: {each.name: (each, [0, *accumulate(each.sizes)]) for each in records.sparse} for key, records in known.items()}
    for name in sorted({name for kind in kinds.values() for name in kind}):
        one = merged.sparse.add(name=name)
        for records, at in rows:
            there = kinds[id(records)].get(name)
            start, end = (there[1][at], there[1][at + 1]) if there else (0, 0)
            one.sizes.append(end - start)
            if there:
                one.indices.extend(there[0].indices[start:end])
                one.values.extend(there[0].values[start:end])


class _Hit(NamedTuple):
    key: float  # smaller is nearer
    records: Any
    at: int
    name: tuple[str, int, str]


def hits(pb: Any, replies: Sequence[Any], k: int, tenant: str, *, smaller_is_nearer: bool) -> Any:
    """A SearchReply with the k nearest of each query; a point that two shards have, since it moves, once."""
    sign = 1 if smaller_is_nearer else -1
    queries = max(len(reply.counts) for reply in replies)
    found: list[list[_Hit]] = [[] for _ in range(queries)]
    for reply in replies:
        records = reply.points
        each = zip((np.asarray(reply.scores) * sign).tolist(), names(records, tenant), strict=True)
        query_of = np.repeat(np.arange(len(reply.counts)), np.asarray(reply.counts)).tolist()
        for at, (query, (key, name)) in enumerate(zip(query_of, each, strict=True)):
            found[query].append(_Hit(key, records, at, name))
    nearest = [_nearest(each, k) for each in found]
    taken = [hit for each in nearest for hit in each]
    return pb.SearchReply(points=gather(pb, [Row(hit.records, hit.at) for hit in taken], tenant), scores=[sign * hit.key for hit in taken],
                          counts=list(map(len, nearest)))


def _nearest(found: list[_Hit], k: int) -> list[_Hit]:
    once: dict[Any, _Hit] = {}
    for hit in sorted(found, key=lambda hit: hit.key):
        once.setdefault(hit.name, hit)
    return list(once.values())[:k]


def ordered(pb: Any, replies: Sequence[Any], limit: int, tenant: str, *, descending: bool) -> Any:
    """A ScrollReply of pages under order_by."""
    found = []
    for reply in replies:
        records = reply.points
        found += [(value, Row(records, at)) for at, value in enumerate(reply.order_values)]
    found.sort(key=lambda each: _value(each[0]), reverse=descending)
    taken = found[:limit]
    return pb.ScrollReply(points=gather(pb, [row for _, row in taken], tenant), order_values=[value for value, _ in taken])


def facets(pb: Any, replies: Sequence[Any], limit: int) -> Any:
    """A FacetReply: the most frequent first; of the same number bools first, then integers and texts."""
    counts: Counter[tuple[int, Any]] = Counter()
    for reply in replies:
        for value, count in zip(reply.values, reply.counts, strict=True):
            kind = value.WhichOneof("value")
            counts[_KINDS.index(kind), getattr(value, kind)] += count
    first = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:limit]
    return pb.FacetReply(values=[pb.PayloadValue(**{_KINDS[kind]: value}) for (kind, value), _ in first], counts=[count for _, count in first])


def _value(message: Any) -> Any:
    return getattr(message, message.WhichOneof("value"))


def summed(make: Callable[..., Any], replies: Sequence[Any], fields: Iterable[str]) -> Any:
    """A message with the sums of those fields."""
    return make(**{name: sum(getattr(reply, name) for reply in replies) for name in fields})
