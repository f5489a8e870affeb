from __future__ import annotations

import pytest

from apps.hotel import data
from apps.hotel.data import Score
from apps.hotel.recommend import Recommender


def test_the_data_set():
    recommender = Recommender(data.scores())
    assert recommender.recommend("dis", 37.7936, -122.3930) == ["4"]
    # Every hotel whose number is divisible by 3 and leaves 4 when divided by 5.
    assert recommender.recommend("rate", 0, 0) == ["9", "24", "39", "54", "69"]
    # Hotel 2 costs 120; hotels of the rate table with a price of 123.17 and more cost more.
    assert recommender.recommend("price", 0, 0) == ["2"]


def test_all_ties():
    recommender = Recommender([Score("a", 1.0, 0.0, 5, 9), Score("b", -1.0, 0.0, 7, 8), Score("c", 5.0, 0.0, 7, 8)])
    assert recommender.recommend("dis", 0.0, 0.0) == ["a", "b"]
    assert recommender.recommend("rate", 0.0, 0.0) == ["b", "c"]
    assert recommender.recommend("price", 0.0, 0.0) == ["b", "c"]


def test_no_hotels_no_recommendation():
    assert [Recommender([]).recommend(criterion, 0, 0) for criterion in ("dis", "rate", "price")] == [[], [], []]


def test_refuses_other_criteria_and_other_planets():
    with pytest.raises(ValueError, match="stars"):
        Recommender(data.scores()).recommend("stars", 0, 0)
    with pytest.raises(ValueError, match="not on Earth"):
        Recommender(data.scores()).recommend("rate", 200, 0)
