from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.hotel import data
from apps.hotel.geo_index import GeoIndex
from apps.hotel.sphere import EARTH_RADIUS_KM

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def haversine_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    half = math.sin((phi2 - phi1) / 2) ** 2
    half += math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def brute_force(points, lat, lon, k, radius_km):
    near = sorted((haversine_km(lat, lon, *point[1:]), point[0]) for point in points)
    return [(distance, name) for distance, name in near if distance <= radius_km][:k]


@settings(max_examples=200)
@given(lat=st.floats(37.6, 38.5), lon=st.floats(-122.6, -121.6))
def test_agrees_with_brute_force_on_the_data_set(lat, lon):
    expected = brute_force(data.points(), lat, lon, 5, 10.0)
    assert GeoIndex(data.points()).nearest(lat, lon) == [name for _, name in expected]


@settings(max_examples=200)
@given(st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=40), latitudes, longitudes,
       st.integers(1, 8), st.floats(1, 20000))
def test_agrees_with_brute_force_anywhere(places, lat, lon, k, radius_km):
    points = [(str(number), *place) for number, place in enumerate(places)]
    distance = {point[0]: haversine_km(lat, lon, *point[1:]) for point in points}
    found = GeoIndex(points).nearest(lat, lon, k=k, radius_km=radius_km)
    expected = brute_force(points, lat, lon, k, radius_km)
    # Points at the rim or at the same distance may go either way by a rounding: distances must agree, not names.
    # Near the far pole of the sphere a chord tells distances apart only to some hundred metres.
    slack = 1.0
    assert len(brute_force(points, lat, lon, k, radius_km - slack)) <= len(found)
    assert len(found) <= len(brute_force(points, lat, lon, k, radius_km + slack))
    assert len(set(found)) == len(found)
    for name, (wanted, _) in zip(found, expected, strict=False):
        assert distance[name] == pytest.approx(wanted, abs=slack)


def test_looks_across_the_date_line_and_the_pole():
    index = GeoIndex([("west", 0.0, 179.99), ("east", 0.0, -179.98), ("pole", 89.99, 10.0)])
    assert index.nearest(0.0, 180.0) == ["west", "east"]
    assert index.nearest(89.99, -170.0) == ["pole"]


def test_no_more_than_five_and_none_beyond_ten_kilometres():
    assert len(GeoIndex(data.points()).nearest(37.7867, -122.4112)) == 5
    assert GeoIndex(data.points()).nearest(0.0, 0.0) == []
    assert GeoIndex([]).nearest(0.0, 0.0) == []


@pytest.mark.parametrize("lat, lon", [(91, 0), (0, 181), (math.nan, 0), (0, math.inf)])
def test_refuses_points_off_the_earth(lat, lon):
    with pytest.raises(ValueError, match="not on Earth"):
        GeoIndex(data.points()).nearest(lat, lon)
