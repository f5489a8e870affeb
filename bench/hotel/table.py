"""Where the time goes: CPU of each process for one request, system beside system, each in the style of its least p99."""

from __future__ import annotations

from collections.abc import Callable

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

    def add(title: str, value: Callable[[str], float | None]) -> None:
        table.add_row(title, *(number(value(system)) for system in shown))

    for process in _processes(report, work):
        add(process, lambda system: report.find(work, shown[system], f"cpu, {process}"))
    table.add_section()
    add("all", lambda system: report.find(work, shown[system], "cpu, all"))
    add("application and messages alone", lambda system: report.find(work, alone_name(SYSTEMS[system]["rpc"]), "cpu, all"))
    if (http := report.find(work, "HTTP alone", "cpu, all")) is not None:
        add("HTTP server alone", lambda _: http)
    for plane in DATA_PLANES:
        add(f"share of {plane}, %", lambda system: report.find(work, shown[system], f"share of {plane}"))
    return table


def _processes(report: Report, work: str) -> list[str]:
    """Services, then what stands between them."""
    found = {row.metric.removeprefix("cpu, ") for row in report.rows if row.work == work and row.metric.startswith("cpu, ")} - {"all"}
    return sorted(found, key=lambda process: (process in DATA_PLANES, process))
