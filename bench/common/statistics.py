"""The few statistics that tables need."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median


def percentile(values: Sequence[float], percentage: float) -> float:
    """The least value that `percentage` percent of all do not exceed. `values` need not be sorted."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percentage // 100)
    return ordered[max(0, int(rank) - 1)]


def confidence(values: Sequence[float], level: float = 95, rounds: int = 2000, seed: int = 1) -> tuple[float, float]:
    """Bootstrap confidence interval of the median."""
    draw = random.Random(seed)
    medians = [median(draw.choices(values, k=len(values))) for _ in range(rounds)]
    tail = (100 - level) / 2
    return percentile(medians, tail), percentile(medians, 100 - tail)
