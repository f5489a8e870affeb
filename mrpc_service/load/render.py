"""Tables and CSV of a run, for people and spreadsheets."""

from __future__ import annotations

import csv
import io

from rich.console import Console
from rich.table import Table

from mrpc_service.load.result import PERCENTAGES, LoadResult


def duration(ns: float) -> str:
    """A time as people write it, with three digits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def print_table(result: LoadResult, console: Console) -> None:
    """The run's account, then its latencies, the corrected beside the uncorrected."""
    console.print(_account(result))
    console.print(_latencies(result))
    if result.errors:
        console.print(_errors(result))


def _account(result: LoadResult) -> Table:
    table = Table(show_header=False, box=None)
    closed = result.loop == "closed"
    rate = f"{result.rps:,.1f} calls/s"
    rows = [
        ("loop", "closed: the next call waits for a reply, so queueing is hidden" if closed else "open: constant rate"),
        ("calls", f"{result.completed} ended of {result.planned} planned, {rate}; {result.warmup} of the warm-up left out"),
        ("late, skipped, unfinished", f"{result.late_sends}, {result.skipped_sends}, {result.unfinished}"),
        ("peaks", f"{result.in_flight_peak} in flight, {result.backlog_peak} waiting to be sent"),
        ("statuses", ", ".join(f"{code} {n}" for code, n in result.status_codes.items()) or "none"),
        ("generator", f"{result.generator_cpu_ns / 1e9:.3f} s of CPU; timer error p50 {duration(result.timer_error.percentile(50))}, "
                      f"p99 {duration(result.timer_error.percentile(99))}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _latencies(result: LoadResult) -> Table:
    table = Table(title="latency of calls that succeeded or ran out of time")
    for column in ("", "from the intended send", "from the actual send"):
        table.add_column(column, justify="right")
    columns = (result.corrected, result.uncorrected)
    table.add_row("fastest", *(duration(each.fastest) for each in columns))
    table.add_row("average", *(duration(each.average) for each in columns))
    for p in PERCENTAGES:
        table.add_row(f"p{p:g}", *(duration(each.percentile(p)) for each in columns))
    table.add_row("slowest", *(duration(each.slowest) for each in columns))
    return table


def _errors(result: LoadResult) -> Table:
    table = Table(title="errors", show_header=False)
    for text, count in sorted(result.errors.items(), key=lambda item: -item[1]):
        table.add_row(str(count), text)
    return table


def to_csv(result: LoadResult) -> str:
    """One line for each percentile: percentage, corrected_ns, uncorrected_ns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["percentage", "corrected_ns", "uncorrected_ns"])
    for p in (0, *PERCENTAGES, 100):
        writer.writerow([p, *(_value(each, p) for each in (result.corrected, result.uncorrected))])
    return out.getvalue()


def _value(latencies, percentage: float) -> int:
    if percentage == 0:
        return latencies.fastest
    return latencies.slowest if percentage == 100 else latencies.percentile(percentage)
