"""Qdrant's engine itself, qdrant-edge-py, asked with filters of qdrant_client's models."""

from __future__ import annotations

from typing import Any

import qdrant_edge

_BOUNDS = ("gt", "gte", "lt", "lte")
_TESTS = ("match", "range", "geo_bounding_box", "geo_radius", "geo_polygon", "values_count", "is_empty", "is_null")


class Engine:
    """folder: of its own."""

    def __init__(self, folder: str) -> None:
        vectors = qdrant_edge.EdgeVectorParams(1, qdrant_edge.Distance.Dot)
        self._shard = qdrant_edge.EdgeShard.create(folder, qdrant_edge.EdgeConfig(vectors=vectors))
        self._size = 0

    def takes(self, payloads: list[dict], wanted: Any) -> list[int]:
        """The places of the payloads that the filter takes."""
        self._shard.update(qdrant_edge.UpdateOperation.delete_points(list(range(self._size))))
        self._size = len(payloads)
        self._shard.update(qdrant_edge.UpdateOperation.upsert_points([qdrant_edge.Point(n, [0.0], each) for n, each in enumerate(payloads)]))
        return sorted(record.id for record in self._shard.scroll(qdrant_edge.ScrollRequest(limit=100, filter=converted(wanted)))[0])

    def close(self) -> None:
        self._shard.close()


def converted(model: Any) -> Any:
    """A model of qdrant_client as the engine's: most have the same name, and the same fields in the same order."""
    if isinstance(model, list):
        return list(map(converted, model))
    match type(model).__name__:
        case "Filter":
            return qdrant_edge.Filter(must=converted(model.must if isinstance(model.must, list) else [model.must]))
        case "FieldCondition":
            return qdrant_edge.FieldCondition(model.key, **{name: converted(getattr(model, name)) for name in _TESTS})
        case "NestedCondition":
            return qdrant_edge.NestedCondition(model.nested.key, converted(model.nested.filter))
        case "Range":
            return qdrant_edge.RangeFloat(**_bounds(model))
        case "DatetimeRange":
            return qdrant_edge.RangeDateTime(**{name: bound and bound.isoformat() for name, bound in _bounds(model).items()})
        case "ValuesCount":
            return qdrant_edge.ValuesCount(**_bounds(model))
        case "GeoRadius":
            return qdrant_edge.GeoRadius(converted(model.center), model.radius)
        case "GeoBoundingBox":
            return qdrant_edge.GeoBoundingBox(converted(model.top_left), converted(model.bottom_right))
        case "GeoPolygon":
            return qdrant_edge.GeoPolygon(converted(model.exterior.points), [converted(hole.points) for hole in model.interiors or ()] or None)
        case "GeoPoint":
            return qdrant_edge.GeoPoint(model.lon, model.lat)
        case name if name.startswith("Match"):
            return getattr(qdrant_edge, name)(next(iter(vars(model).values())))
    return model


def _bounds(model: Any) -> dict[str, Any]:
    return {name: getattr(model, name) for name in _BOUNDS}
