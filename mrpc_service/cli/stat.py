"""`mrpc stat`: golden metrics of every edge, from the difference of two snapshots."""

from __future__ import annotations

import time
from typing import Any

import click

from mrpc_service.cli.output import connect, emit, ns_text, output_option, plain, print_table, table_lines
from mrpc_service.latency import quantile_ns

EDGE = ("client", "server", "service", "method")
COLUMNS = ("client", "server", "method", "rps#", "success#", "p50#", "p95#", "p99#", "denied/s#", "in flight#")
IDLE = "No calls in this interval; 'mrpc edges' shows totals."


@click.command(short_help="Show rates, latencies and denials of every edge now.",
               epilog="\b\nExamples:\n  mrpc stat --watch\n  mrpc stat --interval 10 -o json")
@click.option("-w", "--watch", is_flag=True, help="Again and again; Ctrl-C ends it.")
@click.option("-i", "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, metavar="SECONDS",
              help="To count over.")
@output_option
@click.pass_context
def stat(context: click.Context, watch: bool, interval: float, output: str) -> None:
    """Show rates, success, latencies and denials of every edge over an interval."""
    with connect(context) as client:
        if watch and output == "table":
            watch_table(client, interval)
            return
        before = take(client)
        while True:
            time.sleep(interval)
            after = take(client)
            rates = compare(before, after)
            emit(output, rates, lambda found=rates: print_table(COLUMNS, [row(each) for each in found], IDLE))
            if not watch:
                return
            before = after


def watch_table(client: Any, interval: float) -> None:
    from rich.live import Live
    from rich.text import Text

    before = take(client)
    with Live(Text(IDLE), auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            after = take(client)
            rows = [row(each) for each in compare(before, after)]
            live.update(Text("\n".join(table_lines(COLUMNS, rows)) if rows else IDLE), refresh=True)
            before = after


def take(client: Any) -> dict[str, Any]:
    return plain(client.call("GetSnapshot"))


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """What happened on each edge between two snapshots; edges with nothing are left out. Latencies in ns."""
    seconds = (after["uptime_ns"] - before["uptime_ns"]) / 1e9
    if seconds <= 0:  # the daemon was started anew in between
        return []
    old = {edge_key(edge): edge for edge in before["edges"]}
    rates = (edge_rates(old.get(edge_key(edge)), edge, seconds) for edge in after["edges"])
    return [each for each in rates if each["rps"] or each["in_flight"]]


def edge_key(edge: dict[str, Any]) -> tuple[str, ...]:
    return tuple(edge[part] for part in EDGE)


def edge_rates(old: dict[str, Any] | None, new: dict[str, Any], seconds: float) -> dict[str, Any]:
    old_codes = old["codes"] if old else {}
    finished = {code: count - old_codes.get(code, 0) for code, count in new["codes"].items()}
    total = sum(finished.values())
    counts = list(new["latency"]["counts"])
    if old:
        counts = [now - then for now, then in zip(counts, old["latency"]["counts"], strict=True)]
    quantiles = {
        f"p{percent}_ns": quantile_ns(new["latency"]["bounds_ns"], counts, percent / 100) for percent in (50, 95, 99)
    }
    return dict(zip(EDGE, edge_key(new), strict=True)) | quantiles | {
        "seconds": seconds,
        "rps": total / seconds,
        "success": finished.get(0, 0) / total if total else None,
        "codes": {str(code): count for code, count in finished.items() if count},
        "denied_per_s": (new["denied"] - (old["denied"] if old else 0)) / seconds,
        "in_flight": new["in_flight"],
    }


def row(rates: dict[str, Any]) -> tuple[Any, ...]:
    success = "-" if rates["success"] is None else f"{rates['success']:.2%}"
    return (rates["client"], rates["server"], f"{rates['service']}/{rates['method']}", f"{rates['rps']:.1f}", success,
            ns_text(rates["p50_ns"]), ns_text(rates["p95_ns"]), ns_text(rates["p99_ns"]), f"{rates['denied_per_s']:.1f}",
            rates["in_flight"])
