"""Filters on payloads, in qdrant's shapes, as a typed tree with limits.

    {"must": [{"key": "city", "match": {"value": "Oslo"}}, {"key": "price", "range": {"lt": 10}}],
     "must_not": [{"is_empty": {"key": "tags"}}], "should": [{"has_id": [7]}, {"must": [...]}]}

A key is a path: `a.b` steps into objects, `a[].b` into each element of an array. A condition holds when any of the
values at its path does; an array at the end of a path stands for its elements. Numbers compare as numbers, and true is
not 1. has_id names points of the acting tenant, or [owner, id].
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError, model_validator

from .errors import Invalid
from .model import PointId, Settings, first_complaint

DEPTH_MAX = 16         # of nested objects and arrays; a filter in a filter takes two
NODES_MAX = 4096       # objects, arrays and values together
TEXT_MAX = 1024        # characters of one string

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
Key = Annotated[str, Field(min_length=1, max_length=256)]


class Match(Settings):
    """Exactly one of: equal to value, one of any, none of except, contains text (a substring)."""

    value: Scalar | None = None
    any: list[Scalar] | None = None
    except_: list[Scalar] | None = Field(default=None, alias="except")
    text: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Match:
        return exactly_one(self, ("value", "any", "except_", "text"))


class Range(Settings):
    """All the bounds given hold."""

    gt: float | None = Field(default=None, allow_inf_nan=False)
    gte: float | None = Field(default=None, allow_inf_nan=False)
    lt: float | None = Field(default=None, allow_inf_nan=False)
    lte: float | None = Field(default=None, allow_inf_nan=False)


class Field_(Settings):
    key: Key
    match: Match | None = None
    range: Range | None = None

    @model_validator(mode="after")
    def _one(self) -> Field_:
        return exactly_one(self, ("match", "range"))


class KeyOnly(Settings):
    key: Key


class IsEmpty(Settings):
    """Missing, null, or an empty array."""

    is_empty: KeyOnly


class IsNull(Settings):
    """There, and null."""

    is_null: KeyOnly


class HasId(Settings):
    has_id: list[PointId | tuple[str, PointId]]


class Filter(Settings):
    """All of must, none of must_not, and at least one of should where there is any."""

    must: list[Condition] = Field(default_factory=list)
    should: list[Condition] = Field(default_factory=list)
    must_not: list[Condition] = Field(default_factory=list)


Condition = Field_ | IsEmpty | IsNull | HasId | Filter
Filter.model_rebuild()


def exactly_one(settings: Any, names: tuple[str, ...]) -> Any:
    """The settings, when just one of the names is set. ValueError."""
    if sum(getattr(settings, name) is not None for name in names) != 1:
        raise ValueError(f"give exactly one of {', '.join(name.rstrip('_') for name in names)}")
    return settings


def parse(raw: Filter | Mapping[str, Any] | str | bytes | None) -> Filter | None:
    """The filter of an object or JSON text; None for none. Invalid says where it is wrong or over a limit."""
    if raw is None or isinstance(raw, Filter):
        return raw
    try:
        if isinstance(raw, str | bytes):
            raw = json.loads(raw)
        _measure(raw)
        return Filter.model_validate(raw)
    except ValidationError as error:
        raise Invalid(f"filter: {first_complaint(error)}") from None
    except (ValueError, RecursionError) as error:
        raise Invalid(f"filter: {str(error)[:200]}") from None


def _measure(raw: Any) -> None:
    """Holds the limits before anything walks the tree by recursion."""
    level, nodes = [raw], 0
    for _ in range(DEPTH_MAX + 1):
        nodes += len(level)
        if nodes > NODES_MAX:
            raise ValueError(f"more than {NODES_MAX} conditions and values")
        if any(isinstance(node, str) and len(node) > TEXT_MAX for node in level):
            raise ValueError(f"a text is longer than {TEXT_MAX} characters")
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEPTH_MAX}")


def _children(node: Any) -> Any:
    if isinstance(node, Mapping):
        return node.values()
    return node if isinstance(node, list | tuple) else ()
