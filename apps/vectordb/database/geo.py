"""Places on the earth, in degrees: inside a circle, a box, a polygon. All functions take arrays f64[n] and give bool[n].

Distances are great circles on a sphere; edges of polygons are straight in longitude and latitude, as on a flat map, so a polygon
must not cross the 180th meridian. A polygon's own edge is outside of it; so are its holes, with their edges.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import filters
from .cells import Box

EARTH_RADIUS_M = 6371008.8
_SLACK = 1e-9  # radians or degrees, for what rounding takes from a circle's box
_BLOCK = 1 << 18  # pairs of a place and an edge that are looked at together

Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(lon, lat) -> whether each is inside."""


def place(value: Any) -> tuple[float, float] | None:
    """(lon, lat) of a payload's {"lon": ..., "lat": ...}; None for what is no place."""
    if not isinstance(value, dict):
        return None
    lon, lat = value.get("lon"), value.get("lat")
    if isinstance(lon, bool) or isinstance(lat, bool) or not isinstance(lon, int | float) or not isinstance(lat, int | float):
        return None
    return (float(lon), float(lat)) if -180 <= lon <= 180 and -90 <= lat <= 90 else None


def inside(condition: filters.Field_) -> Inside:
    """What the one of its geo conditions that is set says."""
    if condition.geo_radius is not None:
        return _circle(condition.geo_radius)
    if condition.geo_bounding_box is not None:
        return _box(condition.geo_bounding_box)
    assert condition.geo_polygon is not None
    return _polygon(condition.geo_polygon)


def boxes(condition: filters.Field_) -> list[Box]:
    """What it takes lies in these, which do not overlap."""
    if condition.geo_radius is not None:
        return _around(condition.geo_radius)
    if (box := condition.geo_bounding_box) is not None:
        return _between(box.top_left.lon, box.bottom_right.lat, box.bottom_right.lon, box.top_left.lat)
    assert condition.geo_polygon is not None
    ring = condition.geo_polygon.exterior.points
    lon, lat = [point.lon for point in ring], [point.lat for point in ring]
    return [Box(min(lon), min(lat), max(lon), max(lat))]


def _around(circle: filters.GeoRadius) -> list[Box]:
    lon, lat, angle = circle.center.lon, circle.center.lat, circle.radius / EARTH_RADIUS_M + _SLACK
    south, north = lat - math.degrees(angle), lat + math.degrees(angle)
    if south <= -90 or north >= 90:  # a pole is inside
        return [Box(-180, max(south, -90), 180, min(north, 90))]
    width = math.degrees(math.asin(min(1, math.sin(angle) / math.cos(math.radians(lat))))) + _SLACK
    west, east = lon - width, lon + width
    return _between(west + 360 if west < -180 else west, south, east - 360 if east > 180 else east, north)


def _between(west: float, south: float, east: float, north: float) -> list[Box]:
    """Two when it crosses the 180th meridian."""
    if west <= east:
        return [Box(west, south, east, north)]
    return [Box(west, south, 180, north), Box(-180, south, east, north)]


def _circle(circle: filters.GeoRadius) -> Inside:
    lon0, lat0 = np.radians(circle.center.lon), np.radians(circle.center.lat)

    def test(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        lon, lat = np.radians(lon), np.radians(lat)
        haversine = np.sin((lat - lat0) / 2) ** 2 + np.cos(lat0) * np.cos(lat) * np.sin((lon - lon0) / 2) ** 2
        return 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(haversine, 1))) < circle.radius

    return test


def _box(box: filters.GeoBoundingBox) -> Inside:
    west, north, east, south = box.top_left.lon, box.top_left.lat, box.bottom_right.lon, box.bottom_right.lat

    def test(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        across = (lon > west) | (lon < east) if west > east else (lon > west) & (lon < east)
        return across & (lat < north) & (lat > south)

    return test


def _polygon(polygon: filters.GeoPolygon) -> Inside:
    rings = [polygon.exterior, *(polygon.interiors or ())]
    exterior, *holes = (np.array([(point.lon, point.lat) for point in ring.points]) for ring in rings)
    (west, south), (east, north) = exterior.min(axis=0), exterior.max(axis=0)

    def test(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        within = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
        for ring, is_hole in ((exterior, False), *((hole, True) for hole in holes)):
            at = np.flatnonzero(within)
            within[at] = _in_ring(ring, lon[at], lat[at], on_edge=is_hole) != is_hole
        return within

    return test


def _in_ring(ring: np.ndarray, lon: np.ndarray, lat: np.ndarray, on_edge: bool) -> np.ndarray:
    """on_edge: the answer for what lies on the ring itself."""
    x1, y1, x2, y2 = ring[:-1, 0], ring[:-1, 1], ring[1:, 0], ring[1:, 1]
    answer = np.zeros(len(lon), bool)
    step = max(1, _BLOCK // len(x1))
    for start in range(0, len(lon), step):
        x, y = lon[start:start + step, None], lat[start:start + step, None]
        touches = ((y * (x2 - x1) + y2 * (x1 - x) + y1 * (x - x2) == 0) & ((x1 - x) * (x2 - x) <= 0) & ((y1 - y) * (y2 - y) <= 0)).any(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # of edges along a parallel, which cross none
            crossed = ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        odd = crossed.sum(axis=1) % 2 == 1
        answer[start:start + step] = np.where(touches, on_edge, odd)
    return answer
