"""Quantiles of the data plane's latency histograms."""

from __future__ import annotations

from collections.abc import Sequence


def quantile_ns(bounds_ns: Sequence[int], counts: Sequence[int], fraction: float) -> float:
    """The value below which `fraction` of the samples lie, interpolated within its bucket; 0.0 of no samples.

    Bucket i holds what is below `bounds_ns[i]` and in no bucket before; what lies above the last bound counts as that bound.
    """
    total = sum(counts)
    if total == 0:
        return 0.0
    rank, below = fraction * total, 0
    for index, bound in enumerate(bounds_ns):
        if counts[index] and below + counts[index] >= rank:
            lower = bounds_ns[index - 1] if index else 0
            return lower + (bound - lower) * max(rank - below, 0.0) / counts[index]
        below += counts[index]
    return float(bounds_ns[-1]) if bounds_ns else 0.0
