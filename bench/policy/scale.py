"""How long to measure, and where results go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.common.report import Report


@dataclass(frozen=True)
class Scale:
    repeats: int
    calls: int            # of a latency measurement
    swaps: int
    cold_compiles: int
    limit_seconds: float  # of a budget's measurement
    qos_repeats: int
    qos_seconds: float    # of one open loop; a turn has four, of each of three loads


FULL = Scale(7, 4000, 1000, 9, 20.0, 5, 5.0)  # ends within a quarter of an hour on two cores
QUICK = Scale(3, 500, 100, 3, 4.0, 3, 4.0)


@dataclass
class Bench:
    report: Report
    scale: Scale
    step: Callable[[str], None]  # tells the progress bar what comes
