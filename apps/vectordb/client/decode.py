"""From messages to models."""
from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice, repeat
from typing import Any

import numpy as np

from .. import paths
from . import hybrid
from .models import Record, ScoredPoint


def records(points: Any, own: str, with_payload: Any = True) -> list[Record]:
    """Of a Records message. own: the owner's name where the message says that it is the caller."""
    return list(map(Record, ids(points), payloads(points, with_payload), vectors(points), owners(points, own)))


def hits(reply: Any, own: str, with_payload: Any = True) -> list[list[ScoredPoint]]:
    """Of a SearchReply: one list for each query."""
    points = reply.points
    rows = map(ScoredPoint, ids(points), reply.scores, payloads(points, with_payload), vectors(points), owners(points, own))
    return [list(islice(rows, count)) for count in reply.counts]


def ids(points: Any) -> list[Any]:
    numbers: list[Any] = list(points.ids)
    return [uuid or number for uuid, number in zip(points.uuids, numbers, strict=True)] if points.uuids else numbers


def owners(points: Any, own: str) -> Any:
    names = list(points.owners)
    return [names[index] for index in points.owner] if names else repeat(own)


def payloads(points: Any, with_payload: Any) -> Any:
    """None for each point when they were not asked for."""
    found = [json.loads(text) if text else {} for text in points.payloads]
    if found and with_payload is not True:
        choose = chooser(with_payload)
        found = [choose(payload) for payload in found]
    return found or repeat(None)


def chooser(with_payload: Any) -> Callable[[Any], Any]:
    """Of a list of paths, PayloadSelectorInclude or PayloadSelectorExclude. TypeError for another; ValueError for what is no path."""
    if (left_out := getattr(with_payload, "exclude", None)) is not None:
        unwanted = paths.tree(left_out)
        return lambda payload: paths.all_but(payload, unwanted)
    included = getattr(with_payload, "include", with_payload)
    if not isinstance(included, list | tuple):
        raise TypeError("with_payload is True, False, a list of paths, PayloadSelectorInclude or PayloadSelectorExclude")
    wanted = paths.tree(included)
    return lambda payload: paths.only(payload, wanted)


def vectors(points: Any) -> Any:
    """Arrays [dim], read where the reply lies, or with sparse ones dicts by name; None for each point when they were not asked for."""
    if not points.vectors:
        return repeat(None)
    dense = np.frombuffer(points.vectors, np.float16 if points.dtype == 2 else np.float32).reshape(len(points.ids), -1)
    if not len(points.sparse):
        return dense
    return [{hybrid.DENSE: vector, **named} if named else vector for vector, named in zip(dense, hybrid.decoded(points), strict=True)]
