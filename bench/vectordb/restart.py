"""A million vectors in a database: what loading takes, and how soon it answers after a clean end and after a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.vectordb import stored
from bench.vectordb.scale import Bench
from bench.vectordb.systems.names import STORED

SET = "1m"
WORK = "1m, restart"
LOAD_SECONDS, OPEN_SECONDS = 600, 200


def one_million(bench: Bench) -> None:
    corpus = bench.corpus(SET)
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        bench.step("1m: load a database")
        loaded = stored.asked("load", corpus, Path(folder) / "database", LOAD_SECONDS)
        bench.report.add(WORK, STORED, "load", "s", [loaded["seconds"]])
        bench.report.add(WORK, STORED, "files over raw vectors", "x", [loaded["disk_mib"] / loaded["raw_mib"]])
        for name, crash in (("after a clean end", False), ("after a crash", True)):
            found = []
            for turn in range(bench.scale.restarts):
                bench.step(f"1m: restart {name}, {turn + 1}")
                if crash:
                    stored.asked("crash", corpus, Path(folder) / "database", OPEN_SECONDS)
                found.append(stored.asked("answer", corpus, Path(folder) / "database", OPEN_SECONDS))
            for metric, unit in (("open", "s"), ("first answer", "s"), ("memory", "MiB")):
                bench.report.add(WORK, STORED, f"{metric} {name}", unit, [each[metric] for each in found])
