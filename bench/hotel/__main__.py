"""`python -m bench.hotel [--quick] [--json FILE]`: the hotel reservation over mRPC and its peers.

About 11 minutes, or 5 with --quick, which measures every claim, too. A full run without --json leaves
bench/hotel/results.json."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from apps.hotel.run import POLICIES as APP_POLICIES
from bench.common import command
from bench.common import report as reports
from bench.hotel import claims, measures
from bench.hotel.loads import FrontendLoad, SearchLoad
from bench.hotel.measures import Bench, Scale, Work
from bench.hotel.table import cpu_table

RESULTS = Path(__file__).with_name("results.json")
POLICIES = Path(__file__).with_name("policies.yaml")
NOTES = (
    "The application, its storage and its HTTP server (one uvicorn process) are the same code everywhere. sync, aio, mixed: "
    "blocking stubs and servers, asyncio ones, or an asyncio frontend before blocking services; claims take the better for "
    "each system and metric.",
    "grpc+envoy: an Envoy with one worker beside each process, so that every call passes two; HTTP passes none. The load on "
    "search.Nearby is a caller with an Envoy of its own.",
    "Policies are the same for mrpc and grpc+envoy: under the mix those of apps/hotel/policies.yaml, on search.Nearby those "
    "of bench/hotel/policies.yaml. grpc has neither policies nor proxies.",
    "Capacity is a closed loop's, which hides queueing, with the calls in flight that suit the variant. Latencies are an "
    "open loop's, from the intended send, everywhere at 70 % of grpc+envoy's best capacity. The generator, mrpc load, runs "
    "on the same cores; its time is in no figure but its own.",
    "Application alone: servicers and flows that call each other in one process, without RPC or HTTP. HTTP alone: the same "
    "rate on /health. The rest of the CPU time is RPC: stubs, servers, messages passed, threads woken, policies.",
)


def main() -> int:
    parser = command.make_parser("hotel", __doc__, "about 5 minutes: fewer and shorter runs")
    flags = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench.hotel: ended by SIGTERM"))  # by way of every __exit__
    found = reports.Report("hotel", notes=list(NOTES))
    console = command.open_console()
    run(found, measures.QUICK if flags.quick else measures.FULL, console)
    claims.add_ratios(found)
    found.claims = list(claims.make(found))
    command.publish(found, RESULTS, flags, console)
    for name in claims.TEXTS:
        console.print(cpu_table(found, name))
    return 0


def run(found: reports.Report, scale: Scale, console: Console) -> None:
    with command.make_progress(console) as progress, tempfile.TemporaryDirectory(prefix="mrpc-bench-hotel-") as folder:
        works = make_works(Path(folder))
        total = sum(work.steps(scale) for work in works)
        task = progress.add_task("starting", total=total)
        bench = Bench(found, scale, lambda text: progress.update(task, description=text, advance=1))
        for work in works:
            measures.measure(bench, work)
        bench.note_failures()
        progress.update(task, description="done", completed=total)


def make_works(folder: Path) -> tuple[Work, ...]:
    return (Work("frontend", FrontendLoad(folder), ("sync", "aio", "mixed"), APP_POLICIES),
            Work("search", SearchLoad(folder), ("sync", "aio"), POLICIES))


if __name__ == "__main__":
    sys.exit(main())
