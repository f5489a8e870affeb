"""Memory of the index alone, and changes in memory: batches of 1,000, what each change costs."""

from __future__ import annotations

from bench.vectordb.scale import Bench
from bench.vectordb.seats import seated

SET = "synthetic"
MEMORY, WORK = f"{SET}, memory", f"{SET}, changes"
RIVALS = ("by-id-numpy", "ivf-bitmap-512", "ivf-per-tenant", "hnsw-per-tenant")
CHANGES = ("grant", "revoke", "insert", "delete")
MUTATE_SECONDS = 180


def memory(bench: Bench) -> None:
    """float32 and float16, each over raw vectors of its own type. Its rows are those of building."""
    with seated(bench, MEMORY, SET, ["curator", "curator-f16"]):
        pass


def in_memory(bench: Bench) -> None:
    rivals = [name for name in RIVALS if name in bench.scale.sets[SET].rivals]
    with seated(bench, WORK, SET, ["curator", *rivals]) as seats:
        for seat in seats:
            system = next(iter(seat.about["modes"]))
            bench.step(f"changes of {system}")
            try:
                for change, us in seat.do("mutate", MUTATE_SECONDS, batches=bench.scale.batches, size=bench.scale.batch).items():
                    if isinstance(us, list):
                        bench.report.add(WORK, system, change, "us", us)
                    else:
                        bench.report.fail(f"{WORK}, {change}", system, us)
            except RuntimeError as error:
                bench.report.fail(WORK, system, error)
