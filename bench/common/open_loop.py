"""Calls at a constant rate, whatever became of those before. Times are nanoseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 4
LEAD_NS = 50_000_000  # until the first call is due: all threads stand ready


def open_loop(call: Callable[[], object], rate: float, seconds: float) -> list[int]:
    """`rate` calls a second, dealt in turn to a few threads; each latency counts from when the call was due."""
    calls = max(1, int(rate * seconds))
    start = time.perf_counter_ns() + LEAD_NS

    def run(thread: int) -> list[int]:
        return [_call_at(start + int(i * 1e9 / rate), call) for i in range(thread, calls, THREADS)]

    with ThreadPoolExecutor(THREADS) as pool:
        return [each for times in pool.map(run, range(THREADS)) for each in times]


def _call_at(due: int, call: Callable[[], object]) -> int:
    if (wait := due - time.perf_counter_ns()) > 0:
        time.sleep(wait / 1e9)
    call()
    return time.perf_counter_ns() - due
