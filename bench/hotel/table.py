"""Where the time goes: CPU of each process for one request, system beside system, each in the style of its least p99."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from bench.common.report import Report, number
from bench.hotel.loads import DATA_PLANES
from bench.hotel.measures import alone_name, at_share, quickest
from bench.hotel.systems import SYSTEMS


def cpu_table(report: Report, name: str) -> Table:
    """Of a work at its rate. The parts that are no RPC stand below the sum."""
    work = at_share(name)
    shown = {system: found for system in SYSTEMS if (found := quickest(report, name, system))}
    table = Table("CPU, us/request", *shown.values(), title=f"{work} of the peer's capacity: where the time goes")

    def add(title: str, metric: str, rows: Iterable[str] = tuple(shown.values())) -> None:
        table.add_row(title, *(number(report.find(work, row, metric)) for row in rows))

    for process in _processes(report, work):
        add(process, f"cpu, {process}")
    table.add_section()
    add("all", "cpu, all")
    add("application and messages alone", "cpu, all", (alone_name(SYSTEMS[system]["rpc"]) for system in shown))
    if report.find(work, "HTTP alone", "cpu, all") is not None:
        add("HTTP server alone", "cpu, all", ("HTTP alone" for _ in shown))
    for plane in DATA_PLANES:
        add(f"share of {plane}, %", f"share of {plane}")
    return table


def _processes(report: Report, work: str) -> list[str]:
    """Services, then what stands between them."""
    metrics = {row.metric for row in report.rows if row.work == work and row.metric.startswith("cpu, ")} - {"cpu, all"}
    found = [metric.removeprefix("cpu, ") for metric in metrics]
    return sorted(found, key=lambda process: (process in DATA_PLANES, process))
