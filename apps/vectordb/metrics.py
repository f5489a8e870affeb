"""What the service did, by tenant, as Prometheus metrics: counted in plain numbers, made into metrics when asked for."""
from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

BOUNDS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
TENANTS_MAX = 1000
OTHERS = "(others)"
"""Under which name tenants are counted that come after the first TENANTS_MAX: whoever can call under many names cannot
fill our memory or Prometheus'."""

_BOUNDS_NS = [int(bound * 1e9) for bound in BOUNDS_S]


class Figures:
    """Of one tenant and method. buckets: calls by wall time, the last one for those above all bounds."""
    __slots__ = ("buckets", "codes", "cpu_ns", "wall_ns")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.codes: defaultdict[str, int] = defaultdict(int)
        self.cpu_ns = self.wall_ns = 0


class Meters:
    """Counts calls. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: dict[tuple[str, str], Figures] = {}
        self._tenants: set[str] = set()

    def count(self, tenant: str, method: str, code: str, wall_ns: int, cpu_ns: int) -> None:
        """One call that ended with that status code after that time, of which it used the processor for cpu_ns."""
        with self._lock:
            figures = self._figures.get((tenant, method)) or self._new(tenant, method)
            figures.codes[code] += 1
            figures.buckets[bisect_left(_BOUNDS_NS, wall_ns)] += 1
            figures.wall_ns += wall_ns
            figures.cpu_ns += cpu_ns

    def tenants(self) -> list[str]:
        with self._lock:
            return sorted(self._tenants)

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("vectordb_calls", "Calls, by gRPC status code.", labels=["tenant", "method", "code"])
        latency = HistogramMetricFamily("vectordb_call_seconds", "From handler's start to its end, waiting included.",
                                        labels=["tenant", "method"])
        busy = CounterMetricFamily("vectordb_cpu_seconds", "Processor time of the tenant's calls.", labels=["tenant", "method"])
        with self._lock:
            for labels, figures in sorted(self._figures.items()):
                for code, count in figures.codes.items():
                    calls.add_metric([*labels, code], count)
                latency.add_metric(labels, _cumulative(figures.buckets), figures.wall_ns / 1e9)
                busy.add_metric(labels, figures.cpu_ns / 1e9)
        return iter((calls, latency, busy))

    def _new(self, tenant: str, method: str) -> Figures:
        if tenant not in self._tenants:
            if len(self._tenants) >= TENANTS_MAX:
                tenant = OTHERS
            else:
                self._tenants.add(tenant)
        return self._figures.setdefault((tenant, method), Figures())


class Collector:
    """Calls, what waits, and what tenants hold. holdings: (collection, tenant) and its usage and recall, asked for at each
    scrape."""

    def __init__(self, meters: Meters, waiting: Callable[[], int], holdings: Callable[[], Iterable[tuple[str, str, Any, float | None]]]) -> None:
        self._meters, self._waiting, self._holdings = meters, waiting, holdings

    def collect(self) -> Iterator[Metric]:
        yield from self._meters.collect()
        yield GaugeMetricFamily("vectordb_waiting_calls", "Calls that wait for their turn.", value=self._waiting())
        labels = ["collection", "tenant"]
        points = GaugeMetricFamily("vectordb_points", "Points that the tenant owns.", labels=labels)
        visible = GaugeMetricFamily("vectordb_visible_points", "Points that the tenant sees.", labels=labels)
        size = GaugeMetricFamily("vectordb_bytes", "Vectors and payloads that the tenant owns.", labels=labels)
        refused = CounterMetricFamily("vectordb_refused", "Calls refused by a quota.", labels=labels)
        recall = GaugeMetricFamily("vectordb_recall", "Of sampled searches, against the exact search.", labels=labels)
        for collection, tenant, usage, measured in self._holdings():
            key = [collection, tenant]
            points.add_metric(key, usage.points)
            visible.add_metric(key, usage.visible)
            size.add_metric(key, usage.vector_bytes + usage.payload_bytes)
            refused.add_metric(key, usage.refused)
            if measured is not None:
                recall.add_metric(key, measured)
        yield from (points, visible, size, refused, recall)


def _cumulative(buckets: list[int]) -> list[tuple[str, int]]:
    total, rows = 0, []
    for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], buckets, strict=True):
        total += count
        rows.append((bound, total))
    return rows
