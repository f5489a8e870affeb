"""What the project promises of the vector database: each number one claim with a stable id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from apps.vectordb.data import CASES
from bench.common.report import Claim, Report
from bench.vectordb import restart, search, service, updates
from bench.vectordb.scale import FULL_SETS
from bench.vectordb.systems.names import HALF, OURS, STORED

WORKS = [f"{title}, {case}" for title in FULL_SETS for case in CASES]


def make(report: Report) -> list[Claim]:
    """All claims, measured where `report` has the rows."""
    return [*_recall(report), *_speed(report), *_memory(report), *_changes(report), *_service(report)]


def of_all(pick, values: Iterable[float | None]) -> float | None:
    """The greatest or the least; None when one is missing."""
    found = list(values)
    return None if None in found or not found else pick(found)


def _recall(report: Report) -> Iterator[Claim]:
    for title in FULL_SETS:
        for case in CASES:
            yield Claim(f"vectordb.recall_min_class.{title}.{case}", f"recall@10 of the worst size class, {title}, {case} tenants, default setting",
                        ">= 0.95", report.find(f"{title}, {case}", OURS, "recall@10, least class"))


def _speed(report: Report) -> Iterator[Claim]:
    for title in ("text", "1m"):
        yield Claim(f"vectordb.vs_ivf_bitmap.{title}", f"times quicker at equal recall than one IVF with a bitmap for each tenant, {title}: its best "
                    "number of lists, the worse case", ">= 2.5", of_all(min, (_best_ivf(report, f"{title}, {case}") for case in CASES)))
    per_tenant = [report.find(work, "IVF per tenant", f"times {OURS}, {search.LARGEST}") for work in WORKS]
    yield Claim("vectordb.vs_ivf_per_tenant_large", "times quicker at equal recall than an IVF for each tenant, in the largest size class: the worst "
                "set and case", ">= 1", of_all(min, per_tenant))
    yield Claim("vectordb.p99_over_mean", "p99 of searches over their mean, a query's time being its least of all passes: the worst set and case",
                "<= 2", of_all(max, (report.find(work, OURS, "p99 over mean, a query's least of all passes") for work in WORKS)))
    yield Claim("vectordb.over_own_scan", "mean of searches over that of its exact scan, the worst size class, set and case: it scans by itself "
                "where that is quicker", "<= 1.1", of_all(max, (report.find(work, OURS, "over its own exact scan, worst class") for work in WORKS)))


def _best_ivf(report: Report, work: str) -> float | None:
    """Our advantage over the quickest of the shared IVFs that were built."""
    return min((row.value for row in report.rows if row.work == work and row.system.startswith("one IVF") and row.metric == f"times {OURS}"),
               default=None)


def _memory(report: Report) -> Iterator[Claim]:
    for name, system in (("f32", OURS), ("f16", HALF)):
        yield Claim(f"vectordb.memory_{name}", f"memory of the index over that of raw vectors of its type ({name}), ten grants a vector", "<= 2.0",
                    report.find(f"{updates.MEMORY}, built", system, "memory over raw vectors"))


def _changes(report: Report) -> Iterator[Claim]:
    for change, us in (("grant", 3), ("revoke", 3), ("insert", 50), ("delete", 25)):
        yield Claim(f"vectordb.{change}_us", f"us for each {change} in memory, in batches of 1,000", f"<= {us}",
                    report.find(updates.WORK, OURS, change))
        yield Claim(f"vectordb.durable_{change}_us", f"us for each durable {change}, in batches of 1,000 with one fsync each", f"<= {2 * us}",
                    report.find(updates.DURABLE, STORED, change))


def _service(report: Report) -> Iterator[Claim]:
    yield Claim("vectordb.service_batch32", "throughput of the service over mRPC over that of the library, batches of 32, one caller: the library on "
                f"one thread, the service with others' help while no other call runs (without: the row of {service.PLAIN})", ">= 0.7",
                report.find(service.BATCHES, service.MESH, service.over_the_library(1)))
    yield Claim("vectordb.service_p50_over_library_us", "us that a single search over mRPC, with policies, takes longer than in the library: p50, "
                "100k vectors", "<= 60", report.find(service.SINGLE, service.MESH, "p50 over the library's"))
    yield Claim("vectordb.fair_p99", "p99 of a small tenant's searches while another tenant floods, over that without", "<= 2",
                report.find(service.FAIR, service.MESH, service.over_alone(service.FLOODED)))
    yield Claim("vectordb.restart_s", "s from opening a database of 1M vectors to its first answer", "<= 2",
                report.find(restart.WORK, STORED, "first answer after a clean end"))
