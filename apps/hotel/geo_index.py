"""Nearest hotels on the globe: a k-d tree over points of the unit sphere. Knows nothing of RPC or storage."""
from __future__ import annotations

import math
from collections.abc import Iterable

from scipy.spatial import cKDTree

from .sphere import chord, unit_vector


class GeoIndex:
    """Built once from (id, latitude, longitude) in degrees; immutable, so that any number of threads may ask it."""

    def __init__(self, points: Iterable[tuple[str, float, float]]) -> None:
        rows = list(points)
        self._ids = [row[0] for row in rows]
        self._tree = cKDTree([unit_vector(lat, lon) for _, lat, lon in rows]) if rows else None

    def nearest(self, lat: float, lon: float, *, k: int = 5, radius_km: float = 10.0) -> list[str]:
        """At most k ids within radius_km of the point, nearest first. ValueError for a point that is not on Earth."""
        point = unit_vector(lat, lon)
        if self._tree is None:
            return []
        # The tree's bound is exclusive, ours is not.
        bound = math.nextafter(chord(radius_km), math.inf)
        _, found = self._tree.query(point, k=range(1, k + 1), distance_upper_bound=bound)
        # Where there are fewer than k, the tree fills up with the index after the last.
        return [self._ids[row] for row in found if row < len(self._ids)]
