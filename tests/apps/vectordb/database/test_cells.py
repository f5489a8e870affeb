"""Runs of cells: all that is inside a shape is in them, and little else; also at poles and across the 180th meridian."""
from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.vectordb.database import cells, filters, geo

LON, LAT = np.random.default_rng(7).uniform(-1, 1, (2, 20_000)) * [[180], [90]]
CODES = cells.codes(LON, LAT)
ORDER = np.argsort(CODES, kind="stable")


def found(condition: filters.Field_) -> tuple[list[int], list[int]]:
    """By all places, and by those in the runs; the same."""
    inside, near = geo.inside(condition), ORDER[cells.near(CODES[ORDER], geo.boxes(condition))]
    taken = near[inside(LON[near], LAT[near])]
    assert sorted(set(taken.tolist())) == np.flatnonzero(inside(LON, LAT)).tolist()
    return near.tolist(), taken.tolist()


POINTS = st.builds(lambda lon, lat: {"lon": lon, "lat": lat}, st.floats(-180, 180), st.floats(-90, 90))


@settings(max_examples=100)
@given(POINTS, st.floats(0, 3e7))
@example({"lon": 179.9, "lat": 10.0}, 300_000.0)
@example({"lon": -180.0, "lat": 89.0}, 50_000.0)
@example({"lon": 0.0, "lat": -90.0}, 2e6)
def test_circles(center: dict, radius: float) -> None:
    found(filters.Field_.model_validate({"key": "at", "geo_radius": {"center": center, "radius": radius}}))


@settings(max_examples=100)
@given(POINTS, POINTS)
def test_boxes(corner: dict, other: dict) -> None:
    found(filters.Field_.model_validate({"key": "at", "geo_bounding_box": {"top_left": corner, "bottom_right": other}}))


def test_polygons_and_few_places_beside_those_inside() -> None:
    ring = [{"lon": lon, "lat": lat} for lon, lat in ((5, 5), (25, 5), (15, 30), (5, 5))]
    near, taken = found(filters.Field_.model_validate({"key": "at", "geo_polygon": {"exterior": {"points": ring}}}))
    assert len(near) < 6 * len(taken)
    near, taken = found(filters.Field_.model_validate({"key": "at", "geo_radius": {"center": {"lon": 30, "lat": 50}, "radius": 400_000}}))
    assert 0 < len(near) < 10 * len(taken) < len(LON) / 20
