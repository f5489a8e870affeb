"""From messages to models."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from .models import Record, ScoredPoint


def records(points: Any, own: str) -> list[Record]:
    """Of a Records message. own: the owner's name where the message says that it is the caller."""
    return [Record(*row) for row in zip(ids(points), payloads(points), vectors(points), owners(points, own), strict=True)]


def hits(reply: Any, own: str) -> Iterator[list[ScoredPoint]]:
    """Of a SearchReply: one list for each query."""
    points = reply.points
    rows = map(ScoredPoint, ids(points), reply.scores.tolist(), payloads(points), vectors(points), owners(points, own))
    return ([next(rows) for _ in range(count)] for count in reply.counts.tolist())


def ids(points: Any) -> list[Any]:
    numbers: list[Any] = list(points.ids)
    return [uuid or number for uuid, number in zip(points.uuids, numbers, strict=True)] if points.uuids else numbers


def owners(points: Any, own: str) -> list[str]:
    names = list(points.owners)
    return [names[index] for index in points.owner] if names else [own] * len(points.ids)


def payloads(points: Any) -> list[dict[str, Any] | None]:
    """None for each point when they were not asked for."""
    return [json.loads(text) if text else {} for text in points.payloads] or [None] * len(points.ids)


def vectors(points: Any) -> list[Any]:
    """Arrays [dim], read where the reply lies; None for each point when they were not asked for."""
    count, data = len(points.ids), points.vectors
    if not data:
        return [None] * count
    return list(np.frombuffer(data, np.float16 if points.dtype == 2 else np.float32).reshape(count, -1))
