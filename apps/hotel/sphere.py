"""Points on the globe as points of the unit sphere.

The straight chord between two of them grows with the great-circle distance, so that what is nearest by chord is nearest
by road of air, poles and date line included.
"""
from __future__ import annotations

import math

EARTH_RADIUS_KM = 6371.0


def unit_vector(lat: float, lon: float) -> tuple[float, float, float]:
    """The point of a latitude and longitude in degrees. ValueError when it is not on Earth (NaN is not)."""
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError(f"({lat}, {lon}) is not on Earth: latitude is -90 to 90, longitude -180 to 180 degrees")
    phi, theta = math.radians(lat), math.radians(lon)
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


def chord(distance_km: float) -> float:
    """The length, in radii, of the chord under a great-circle distance."""
    return 2 * math.sin(min(distance_km / (2 * EARTH_RADIUS_KM), math.pi / 2))
