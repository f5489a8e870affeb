"""Hotels by one criterion, with all ties: nearest, highest rate, or lowest price. Knows nothing of RPC or storage."""
from __future__ import annotations

from collections.abc import Sequence

from .data import Score
from .sphere import unit_vector

CRITERIA = ("dis", "rate", "price")


class Recommender:
    """Immutable once built: what does not depend on the guest's position is worked out here."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self._points = [(score.hotel_id, *unit_vector(score.lat, score.lon)) for score in scores]
        best_rate = max((score.rate for score in scores), default=0)
        best_price = min((score.price for score in scores), default=0)
        self._by_rate = [score.hotel_id for score in scores if score.rate == best_rate]
        self._by_price = [score.hotel_id for score in scores if score.price == best_price]

    def recommend(self, criterion: str, lat: float, lon: float) -> Sequence[str]:
        """Ids of all the best hotels by the criterion. ValueError for another criterion or a point not on Earth."""
        point = unit_vector(lat, lon)
        if criterion == "dis":
            return self._nearest(*point)
        if criterion == "rate":
            return self._by_rate
        if criterion == "price":
            return self._by_price
        raise ValueError(f"cannot recommend by {criterion!r}: ask for one of {', '.join(CRITERIA)}")

    def _nearest(self, x: float, y: float, z: float) -> list[str]:
        # All of them: ties are wanted, and 80 squares are quicker than two questions to a tree.
        chords = [((a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2, hotel_id) for hotel_id, a, b, c in self._points]
        least = min(chords, default=(0, ""))[0]
        return [hotel_id for square, hotel_id in chords if square == least]
