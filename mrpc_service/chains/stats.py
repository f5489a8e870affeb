"""What changes of the chains came to since the daemon started, for metrics."""

from __future__ import annotations

from collections.abc import Iterable

PAUSE_BOUNDS_NS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 10_000_000)


class ChangeStats:
    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(("committed", "refused", "conflict", "would_deny"), 0)
        self.pause_counts = [0] * (len(PAUSE_BOUNDS_NS) + 1)  # by bound, the last for what is longer
        self.pause_sum_ns = 0

    def pauses(self, shards_ns: Iterable[int]) -> None:
        """How long each shard stood still for one change."""
        for pause_ns in shards_ns:
            index = next((at for at, bound in enumerate(PAUSE_BOUNDS_NS) if pause_ns <= bound), len(PAUSE_BOUNDS_NS))
            self.pause_counts[index] += 1
            self.pause_sum_ns += pause_ns
