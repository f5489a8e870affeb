"""`python -m bench.policy [--quick] [--json FILE]`: policies' cost, swaps, budgets and priorities. A full run without --json leaves
bench/policy/results.json."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from bench.common import command
from bench.common import report as reports
from bench.policy import claims, costs, filters, interpreted, limits, qos, scale, swaps
from bench.policy.mesh import Kit
from bench.rpc.systems import Kit as RpcKit

RESULTS = Path(__file__).with_name("results.json")
NOTES = (
    f"in the datapath: by the daemon's cycle counters around each policy's hooks, with calls of 64 B from a Python stub, {costs.IN_FLIGHT} in "
    "flight; or one at a time, between which the shard sleeps and finds its caches cold.",
    "envoy, p50, on minus off: through one Envoy with the filter and one without, in turn; coarse, as a filter's cost is small beside the call's.",
    "interpreted: the same program as a Python class, on a Python message, without a call around it.",
    "swaps: every second one at the server's daemon, the others at the callers' daemon behind TCP; each a program that was never seen before.",
    "qos: open loop, latencies count from when a call was due; control: programs that burn as much CPU as the bulk application, its server "
    "and the daemon did, a process for each.",
)
PARTS: dict[str, tuple[Callable, ...]] = {
    "costs": (costs.policies, costs.on_minus_off, interpreted.evaluations, filters.added),
    "swaps": (swaps.under_load, swaps.cold_compiles, swaps.memory_left, swaps.twenty_policies),
    "limits": (limits.three_daemons,),
    "qos": (qos.tails,),
}


def main() -> int:
    parser = command.make_parser("policy", __doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="some parts; nothing is written without --json")
    flags = parser.parse_args()
    found = reports.Report("policy", notes=list(NOTES))
    console = command.open_console()
    with command.make_progress(console) as progress:
        run(found, scale.QUICK if flags.quick else scale.FULL, progress, flags.only or list(PARTS))
    found.claims = claims.make(found)
    command.publish(found, RESULTS, flags, console, whole=not flags.only)
    return 0


def run(found: reports.Report, chosen: scale.Scale, progress: Progress, parts: list[str]) -> None:
    total = len(costs.SIMPLE) + len(costs.OTHERS) + 12 + 2 * (chosen.swaps // 25) + chosen.cold_compiles + len(qos.OWN) + 1
    task = progress.add_task("starting", total=total)

    def step(text: str) -> None:
        progress.update(task, description=text, advance=1)

    bench = scale.Bench(found, chosen, step)
    with tempfile.TemporaryDirectory(prefix="mrpc-bench-") as folder:
        kit, peers = Kit(Path(folder)), RpcKit(Path(folder))
        for part in (each for name in parts for each in PARTS[name]):
            command.guarded(found, f"{part.__module__}.{part.__name__}", part, bench, peers if part is filters.added else kit)
    progress.update(task, description="done", completed=total)


if __name__ == "__main__":
    sys.exit(main())
