"""What a run measured: histograms, and the JSON shape that ghz's users know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hdrh.histogram import HdrHistogram

PERCENTAGES = (10, 25, 50, 75, 90, 95, 99, 99.9, 99.99)
HIGHEST_NS = 3_600_000_000_000  # one hour, as the generator's
BARS = 10


class Latencies:
    """Latencies in nanoseconds, as an HdrHistogram of 3 significant digits with exact extremes and mean."""

    def __init__(self, counted: Mapping[str, Any]) -> None:
        self.count: int = counted["count"]
        self.fastest: int = counted["min"]
        self.slowest: int = counted["max"]
        self._sum: int = counted["sum"]
        self.histogram = HdrHistogram(1, HIGHEST_NS, 3)
        for value, count in counted["buckets"]:
            self.histogram.record_value(value, count)

    def merge(self, other: Latencies) -> None:
        if other.count:
            self.fastest = min(self.fastest, other.fastest) if self.count else other.fastest
        self.slowest = max(self.slowest, other.slowest)
        self.count += other.count
        self._sum += other._sum
        self.histogram.add(other.histogram)

    @property
    def average(self) -> float:
        return self._sum / self.count if self.count else 0.0

    def percentile(self, percentage: float) -> int:
        """The latency that `percentage` percent of calls do not exceed; 0 when there are none."""
        if not self.count:
            return 0
        return min(int(self.histogram.get_value_at_percentile(percentage)), self.slowest)

    def distribution(self) -> list[dict[str, float]]:
        return [{"percentage": p, "latency": self.percentile(p)} for p in PERCENTAGES]

    def bars(self) -> list[dict[str, float]]:
        """ghz's histogram: calls up to each mark (seconds), over equal steps from the fastest to the slowest."""
        if not self.count:
            return []
        step = max(1, (self.slowest - self.fastest) / BARS)
        counts = [0] * (BARS + 1)
        for item in self.histogram.get_recorded_iterator():
            slot = -(-(min(item.value_iterated_to, self.slowest) - self.fastest) // step)
            counts[min(BARS, max(0, int(slot)))] += item.count_added_in_this_iter_step
        return [
            {"mark": (self.fastest + i * step) / 1e9, "count": n, "frequency": n / self.count} for i, n in enumerate(counts)
        ]

    def summary(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "average": self.average,
            "fastest": self.fastest,
            "slowest": self.slowest,
            "latencyDistribution": self.distribution(),
        }


@dataclass
class LoadResult:
    """One run. Times are nanoseconds unless the name says otherwise."""

    loop: str  # "open" or "closed"
    planned: int
    sent: int
    completed: int
    late_sends: int
    skipped_sends: int
    unfinished: int
    warmup: int
    in_flight_peak: int
    backlog_peak: int
    measured_ns: int
    generator_cpu_ns: int
    status_codes: dict[str, int]
    errors: dict[str, int]
    corrected: Latencies
    uncorrected: Latencies
    failed: Latencies
    timer_error: Latencies
    options: dict[str, Any] = field(default_factory=dict)
    date: str = ""

    @classmethod
    def from_native(cls, counted: Mapping[str, Any], options: Mapping[str, Any]) -> LoadResult:
        latencies = ("corrected", "uncorrected", "failed", "timer_error")
        values = {name: Latencies(value) if name in latencies else value for name, value in counted.items()}
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(**values, options=dict(options), date=date)

    @property
    def rps(self) -> float:
        return self.completed / (self.measured_ns / 1e9) if self.measured_ns else 0.0

    @property
    def succeeded(self) -> bool:
        """Every planned call was sent and ended, without an error."""
        return not self.errors and not self.skipped_sends and not self.unfinished

    def to_json(self) -> dict[str, Any]:
        """ghz's fields first, latencies being the corrected ones; then ours."""
        return {
            "date": self.date,
            "options": self.options,
            "count": self.completed,
            "total": self.measured_ns,
            "average": self.corrected.average,
            "fastest": self.corrected.fastest,
            "slowest": self.corrected.slowest,
            "rps": self.rps,
            "errorDistribution": self.errors,
            "statusCodeDistribution": self.status_codes,
            "latencyDistribution": self.corrected.distribution(),
            "histogram": self.corrected.bars(),
            "loop": self.loop,
            "planned": self.planned,
            "sent": self.sent,
            "late_sends": self.late_sends,
            "skipped_sends": self.skipped_sends,
            "unfinished": self.unfinished,
            "warmup_calls": self.warmup,
            "in_flight_peak": self.in_flight_peak,
            "backlog_peak": self.backlog_peak,
            "uncorrected": self.uncorrected.summary(),
            "failed": self.failed.summary(),
            "timer_error": self.timer_error.summary(),
            "generator_cpu_seconds": self.generator_cpu_ns / 1e9,
            "hdr": self.corrected.histogram.encode().decode(),
        }
