"""What changes cost: of the index in memory, and durable ones of whole databases, in batches of 1,000. And the memory of the index alone."""

from __future__ import annotations

from bench.vectordb.scale import Bench
from bench.vectordb.seats import Seat, seated

SET = "synthetic"
MEMORY, WORK, DURABLE, SINGLE = (f"{SET}, {what}" for what in ("memory", "changes", "durable changes", "durable changes, one at a time"))
RIVALS = ("by-id-numpy", "ivf-bitmap-512", "ivf-per-tenant", "hnsw-per-tenant")
ENGINES = ("qdrant", "qdrant-unflushed", "postgres")
CHANGES = ("grant", "revoke", "insert", "delete")
CHANGE_SECONDS = 180
SINGLES = 40


def memory(bench: Bench) -> None:
    """float32 and float16, each over raw vectors of its own type. Its rows are those of building."""
    with seated(bench, MEMORY, SET, ["curator", "curator-f16"]):
        pass


def in_memory(bench: Bench) -> None:
    with seated(bench, WORK, SET, ["curator", *_measured(bench, RIVALS)]) as seats:
        for seat in seats:
            _changes(bench, seat, WORK, "mutate", bench.scale.batches, bench.scale.batch)


def durable(bench: Bench) -> None:
    """A batch is one call and one fsync, and belongs to one owner; then the same with one point a call."""
    with seated(bench, DURABLE, SET, ["database", *_measured(bench, ENGINES)]) as seats:
        for seat in seats:
            _changes(bench, seat, DURABLE, "share", bench.scale.batches, bench.scale.batch)
            _changes(bench, seat, SINGLE, "share", SINGLES, 1)


def _measured(bench: Bench, names: tuple[str, ...]) -> list[str]:
    """Those that this run measures on the set, or variants of them."""
    return [name for name in names if name.partition("-unflushed")[0] in bench.scale.sets[SET].rivals]


def _changes(bench: Bench, seat: Seat, work: str, how: str, batches: int, size: int) -> None:
    system = next(iter(seat.about["modes"]))
    bench.step(f"{work}: {system}")
    try:
        for change, us in seat.do(how, CHANGE_SECONDS, batches=batches, size=size).items():
            if isinstance(us, list):
                bench.report.add(work, system, change, "us", us)
            else:
                bench.report.fail(f"{work}, {change}", system, us)
    except RuntimeError as error:
        bench.report.fail(work, system, error)
