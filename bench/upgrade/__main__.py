"""`python -m bench.upgrade [--quick] [--json FILE]`: hot restarts under load. A full run without --json leaves bench/upgrade/results.json."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.common import command
from bench.common import report as reports
from bench.common.process import NotStarted
from bench.upgrade.mesh import Mesh, faults, temporary_mesh

RESULTS = Path(__file__).with_name("results.json")
FULL, QUICK = 50, 10
CALLERS = (("a", 2, 64), ("b", 2, 4096), ("c", 1, 64 << 10), ("d", 1, 8 << 20))  # name, threads, bytes
NOTES = (
    "Closed loop. Callers: 2 threads of 64 B, 2 of 4 KiB, 1 of 64 KiB, 1 of 8 MiB, each a process; every call is echoed and checked, the "
    "server checks every caller's numbers. Two hosts: two daemons over TCP on one machine, each taken over in turn.",
    "Pause: the longest call of each small caller (64 B, 4 KiB) from one restart to the next; its p99 over all restarts and callers. The "
    "successor's start, compiling and imports run beside the load on the same cores, and are in it.",
)


@dataclass
class Found:
    failed: int = 0
    restarts: int = 0
    pauses_ms: list[float] = field(default_factory=list)


def main() -> int:
    parser = command.make_parser("upgrade", __doc__, f"{QUICK} restarts instead of {FULL}")
    flags = parser.parse_args()
    found = reports.Report("upgrade", notes=list(NOTES))
    console = command.open_console()
    restarts = QUICK if flags.quick else FULL
    both = Found()
    with command.make_progress(console) as progress:
        task = progress.add_task("restarting", total=restarts)
        for two_hosts in (False, True):
            try:
                measure(found, both, two_hosts, restarts // 2, lambda: progress.advance(task))
            except (NotStarted, RuntimeError, OSError) as error:
                both.failed += 1
                found.fail(work_of(two_hosts), "mrpc", error)
    found.claims = claims(both, restarts)
    command.publish(found, RESULTS, flags, console)
    return 0


def work_of(two_hosts: bool) -> str:
    return "restarts, two hosts" if two_hosts else "restarts, one host"


def measure(found: reports.Report, both: Found, two_hosts: bool, restarts: int, step: Any) -> None:
    work, here = work_of(two_hosts), Found()
    with temporary_mesh(two_hosts) as mesh:
        for name, threads, size in CALLERS:
            mesh.add_caller(name, threads, size)
        mesh.mark()
        for count in range(restarts):
            restart(mesh, count, here)
            step()
        wrong = faults(*mesh.finish())
        here.failed += len(wrong)
        found.notes += [f"{work}: {text}" for text in wrong]
    found.add(work, "mrpc", "restarts", "", [here.restarts])
    found.add(work, "mrpc", "failed, lost or doubled", "calls", [here.failed])
    found.add(work, "mrpc", "pause", "ms", here.pauses_ms)
    found.add(work, "mrpc", "pause p99", "ms", [p99(here.pauses_ms)])
    both.failed += here.failed
    both.restarts += here.restarts
    both.pauses_ms += here.pauses_ms


def restart(mesh: Mesh, count: int, here: Found) -> None:
    mesh.daemons[count % len(mesh.daemons)].take_over()
    seen = mesh.mark()
    here.restarts += 1
    here.failed += sum(each["failed"] + each["wrong"] for each in seen)
    here.pauses_ms += [each["worst_ms"] for each in seen[:2]]


def p99(values: list[float]) -> float:
    """The value that 99 of 100 do not exceed; of fewer, the greatest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-99 * len(ordered) // 100) - 1)]


def claims(found: Found, restarts: int) -> list[reports.Claim]:
    whole = found.restarts >= restarts
    return [
        reports.Claim("upgrade.failed", f"calls that failed, were lost or doubled in {restarts} hot restarts under load", "<= 0",
                      float(found.failed) if whole or found.failed else None),
        reports.Claim("upgrade.pause_p99_ms", "pause of a hot restart as callers see it, p99, ms", "<= 250",
                      p99(found.pauses_ms) if found.pauses_ms else None),
    ]


if __name__ == "__main__":
    sys.exit(main())
