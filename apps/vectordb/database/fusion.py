"""Several lists of results as one, as Qdrant does it.

A list is index ids u64[n], best first, with their scores f64[n], where larger is better. So is the fused one; what is fused to the same score
comes in the order of the lists.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Fusion = Literal["rrf", "dbsf"]
Ranked = tuple[np.ndarray, np.ndarray]
RRF_K = 2
DEVIATIONS = 3.0  # of a list's scores from their mean, to either side, are 0 to 1


def by_ranks(lists: Sequence[Ranked], k: int = RRF_K, weights: Sequence[float] | None = None) -> Ranked:
    """Reciprocal rank fusion: a point's score is the sum over lists of 1 / (rank / weight + k - 1), with ranks from 1. A weight of 0 or
    less: the list gives nothing."""
    shares = []
    for weight, (ids, _) in zip(weights or [1.0] * len(lists), lists, strict=True):
        ranks = np.arange(1, len(ids) + 1)
        shares.append(1 / (ranks / weight + k - 1) if weight > 0 else np.zeros(len(ids)))
    return _summed([ids for ids, _ in lists], shares)


def by_scores(lists: Sequence[Ranked]) -> Ranked:
    """Distribution-based score fusion: a point's score is the sum of its scores, each list's moved and scaled so that its mean is 0.5 and
    three standard deviations to either side are 0 and 1."""
    return _summed([ids for ids, _ in lists], [_normalised(scores) for _, scores in lists])


def _normalised(scores: np.ndarray) -> np.ndarray:
    deviation = scores.std(ddof=1) if len(scores) > 1 else 0.0
    if not deviation > 0:
        return np.full(len(scores), 0.5)
    return 0.5 + (scores - scores.mean()) / (2 * DEVIATIONS * deviation)


def _summed(ids: list[np.ndarray], shares: list[np.ndarray]) -> Ranked:
    found, first, place = np.unique(np.concatenate(ids), return_index=True, return_inverse=True)
    scores = np.bincount(place, np.concatenate(shares), len(found))
    order = np.lexsort((first, -scores))
    return found[order], scores[order]
