"""From messages to models."""
from __future__ import annotations

import json
from itertools import islice, repeat
from typing import Any

import numpy as np

from . import hybrid
from .models import Record, ScoredPoint


def records(points: Any, own: str, order_values: Any = ()) -> list[Record]:
    """Of a Records message. own: the owner's name where the message says that it is the caller."""
    order = map(value, order_values) if order_values else repeat(None)
    return list(map(Record, ids(points), payloads(points), vectors(points), owners(points, own), order))


def value(message: Any) -> Any:
    """Of a PayloadValue."""
    return getattr(message, message.WhichOneof("value"))


def hits(reply: Any, own: str) -> list[list[ScoredPoint]]:
    """Of a SearchReply: one list for each query or group."""
    points = reply.points
    rows = map(ScoredPoint, ids(points), reply.scores, payloads(points), vectors(points), owners(points, own))
    return [list(islice(rows, count)) for count in reply.counts]


def ids(points: Any) -> list[Any]:
    numbers: list[Any] = list(points.ids)
    return [uuid or number for uuid, number in zip(points.uuids, numbers, strict=True)] if points.uuids else numbers


def owners(points: Any, own: str) -> Any:
    names = list(points.owners)
    return [names[index] for index in points.owner] if names else repeat(own)


def payloads(points: Any) -> Any:
    """None for each point when they were not asked for."""
    return [json.loads(text) if text else {} for text in points.payloads] or repeat(None)


def vectors(points: Any) -> Any:
    """Arrays [dim], read where the reply lies, or with sparse ones dicts by name; None for each point when they were not asked for."""
    if not points.vectors:
        return repeat(None)
    dense = np.frombuffer(points.vectors, np.float16 if points.dtype == 2 else np.float32).reshape(len(points.ids), -1)
    if not len(points.sparse):
        return dense
    return [{hybrid.DENSE: vector, **named} if named else vector for vector, named in zip(dense, hybrid.decoded(points), strict=True)]
