"""Filters on payloads, in qdrant's shapes, as a typed tree with limits.

    {"must": [{"key": "city", "match": {"value": "Oslo"}}, {"key": "price", "range": {"lt": 10}}],
     "must_not": [{"is_empty": {"key": "tags"}}], "should": [{"has_id": [7]}, {"must": [...]}]}

A key is a path (paths.py). A condition holds when any of the values at its path meets it; an array at the end of a path
stands for its elements. Numbers compare as numbers, and true is not 1. Times are RFC 3339 (times.py), places on the
earth {"lon": ..., "lat": ...} in degrees (geo.py). has_id names points of the acting tenant, or [owner, id].
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, StrictBool, StrictInt, StrictStr, Tag, ValidationError, model_validator

from .. import paths
from . import times
from .errors import Invalid
from .model import PointId, Settings, first_complaint

DEPTH_MAX = 24         # of nested objects and arrays; a filter in a filter takes two
NODES_MAX = 4096       # objects, arrays and values together
TEXT_MAX = 1024        # characters of one string
RING_MAX = 1000        # points of one ring of a polygon
FIELDS_MAX = 64        # different keys: each costs a reading of all payloads when it is new


def _path(key: str) -> str:
    paths.parse(key)
    return key


def _time(given: Any) -> Any:
    """Microseconds since 1970 for the text of a time."""
    if not isinstance(given, str) or (found := times.parse(given)) is None:
        raise ValueError(f"{str(given)[:40]!r} is no time: write it as 2026-01-31T12:00:00Z")
    return found


def _listed(given: Any) -> Any:
    if given is None:
        return []
    return [given] if isinstance(given, Mapping | Settings) else given


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Scalar = StrictBool | StrictInt | Number | StrictStr
Key = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_path)]
Time = Annotated[StrictInt, BeforeValidator(_time)]
Text = Annotated[str, Field(min_length=1)]
B = TypeVar("B")


class OneOf(Settings):
    """Exactly one of its fields is set, but for the key."""

    @model_validator(mode="after")
    def _one(self) -> Any:
        names = [name for name in type(self).model_fields if name != "key"]
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"give exactly one of {', '.join(name.rstrip('_') for name in names)}")
        return self


class Match(OneOf):
    """Equal to value, to one of any, to none of except (null is no value); or a text with all words of text, one word of text_any,
    the words of phrase one after the other, that begins with prefix, that contains substring.

    Words are letters and digits without regard to case; what is between them does not count."""

    value: Scalar | None = None
    any: list[Scalar] | None = None
    except_: list[Scalar] | None = Field(default=None, alias="except")
    text: Text | None = None
    text_any: Text | None = None
    phrase: Text | None = None
    prefix: StrictStr | None = None
    substring: StrictStr | None = None


class Bounds(Settings, Generic[B]):
    """All that are given hold."""

    gt: B | None = None
    gte: B | None = None
    lt: B | None = None
    lte: B | None = None


class Range(Bounds[Number]):
    """Of a number."""


class DatetimeRange(Bounds[Time]):
    """Of a time: given as texts, and kept as microseconds since 1970."""


class ValuesCount(Bounds[Annotated[StrictInt, Field(ge=-2**31, lt=2**31)]]):
    """Of how many elements an array is; another value counts as one, null or a missing one as none."""


def _kind_of_range(raw: Any) -> str:
    if isinstance(raw, Mapping):
        return "times" if any(isinstance(bound, str) for bound in raw.values()) else "numbers"
    return "times" if isinstance(raw, DatetimeRange) else "numbers"


AnyRange = Annotated[Annotated[Range, Tag("numbers")] | Annotated[DatetimeRange, Tag("times")], Discriminator(_kind_of_range)]


class GeoPoint(Settings):
    lon: Annotated[Number, Field(ge=-180, le=180)]
    lat: Annotated[Number, Field(ge=-90, le=90)]


class GeoRadius(Settings):
    """Nearer to the center than radius, in metres."""

    center: GeoPoint
    radius: Annotated[Number, Field(ge=0)]


class GeoBoundingBox(Settings):
    """Its edge is outside. It crosses the 180th meridian when its left is east of its right."""

    top_left: GeoPoint
    bottom_right: GeoPoint


class Ring(Settings):
    """The last point is the first."""

    points: list[GeoPoint] = Field(min_length=4, max_length=RING_MAX)

    @model_validator(mode="after")
    def _closed(self) -> Ring:
        if self.points[0] != self.points[-1]:
            raise ValueError("the last point of a ring is its first")
        return self


class GeoPolygon(Settings):
    """Inside the exterior and in none of the interiors."""

    exterior: Ring
    interiors: list[Ring] | None = None


class Field_(OneOf):
    """is_empty: whether it is missing, null, or an empty array. is_null: whether it, or an element of it, is null."""

    key: Key
    match: Match | None = None
    range: AnyRange | None = None
    geo_radius: GeoRadius | None = None
    geo_bounding_box: GeoBoundingBox | None = None
    geo_polygon: GeoPolygon | None = None
    values_count: ValuesCount | None = None
    is_empty: StrictBool | None = None
    is_null: StrictBool | None = None


class HasId(Settings):
    has_id: list[PointId | tuple[str, PointId]]


class Nested(Settings):
    """One object in the array at key meets the filter by itself: its keys begin in that object."""

    key: Key
    filter: Filter

    @model_validator(mode="after")
    def _within_the_object(self) -> Nested:
        if any(isinstance(leaf, HasId) for leaf in self.filter.leaves()):
            raise ValueError("has_id is of the whole point: put it beside the nested filter, not into it")
        return self

    @property
    def array(self) -> str:
        return self.key.removesuffix("[]")


class NestedCondition(Settings):
    nested: Nested


class MinShould(Settings):
    conditions: Conditions
    min_count: StrictInt = Field(ge=1)


class Filter(Settings):
    """All of must, none of must_not, at least one of should where there is any, and min_count of min_should."""

    must: Conditions = Field(default_factory=list)
    should: Conditions = Field(default_factory=list)
    must_not: Conditions = Field(default_factory=list)
    min_should: MinShould | None = None

    def leaves(self) -> Iterator[Field_ | HasId | NestedCondition]:
        """The conditions that are no filters, at any depth; those in a nested one are not looked for."""
        for part in chain(self.must, self.should, self.must_not, self.min_should.conditions if self.min_should else ()):
            if isinstance(part, Filter):
                yield from part.leaves()
            else:
                yield part


    def fields(self) -> Iterator[tuple[str, ...]]:
        """The keys of all conditions, those in nested filters behind the key of their array."""
        for leaf in self.leaves():
            if isinstance(leaf, NestedCondition):
                yield from ((leaf.nested.array, *inner) for inner in leaf.nested.filter.fields())
            elif isinstance(leaf, Field_):
                yield (leaf.key,)


def _kind(raw: Any) -> str:
    """Which kind of condition it wants to be, so that complaints are of that kind."""
    if isinstance(raw, Settings):
        return next(tag for tag, kind in _KINDS.items() if isinstance(raw, kind))
    return next((key for key in _KINDS if isinstance(raw, Mapping) and key in raw), "filter")


def _plain(raw: Any) -> Any:
    """{"is_empty": {"key": k}}, which is a kind of its own at qdrant, as a condition on k."""
    if isinstance(raw, Mapping) and len(raw) == 1:
        (name, where), = raw.items()
        if name in ("is_empty", "is_null") and isinstance(where, Mapping) and where.keys() == {"key"}:
            return {"key": where["key"], name: True}
    return raw


_KINDS: dict[str, type[Settings]] = {"key": Field_, "has_id": HasId, "nested": NestedCondition, "filter": Filter}
"""By the name that only this kind has."""
Condition = Annotated[
    Annotated[Field_, Tag("key")] | Annotated[HasId, Tag("has_id")] | Annotated[NestedCondition, Tag("nested")]
    | Annotated[Filter, Tag("filter")], Discriminator(_kind), BeforeValidator(_plain)]
Conditions = Annotated[list[Condition], BeforeValidator(_listed)]
for _model in (Nested, NestedCondition, MinShould, Filter):
    _model.model_rebuild()


def parse(raw: Filter | Mapping[str, Any] | str | bytes | None) -> Filter | None:
    """The filter of an object or JSON text; None for none. Invalid says where it is wrong or over a limit."""
    if raw is None or isinstance(raw, Filter):
        return raw
    try:
        if isinstance(raw, str | bytes):
            raw = json.loads(raw)
        _measure(raw)
        wanted = Filter.model_validate(raw)
        if len(set(wanted.fields())) > FIELDS_MAX:
            raise ValueError(f"more than {FIELDS_MAX} different keys")
        return wanted
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
        for text in (node for node in level if isinstance(node, str)):
            if len(text) > TEXT_MAX:
                raise ValueError(f"a text is longer than {TEXT_MAX} characters")
            text.encode()  # ValueError for half a character, which JSON may have and nothing else can write
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEPTH_MAX}")


def _children(node: Any) -> Any:
    if isinstance(node, Mapping):
        return node.values()
    return node if isinstance(node, list | tuple) else ()
