"""`python -m bench.vectordb.stored WORK CORPUS DIR`: a corpus in a Database, and what a process that opens it goes through.

load: what a program would do to bring the corpus there, without waiting for the disk meanwhile. crash: opens it, writes some points more,
durably, and is gone without a word. answer: opens it and searches once. Prints figures as JSON: seconds from where the work begins, MiB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from apps.vectordb.database import Collection, Database, Points
from bench.common.process import memory_mib
from bench.vectordb.corpus import Corpus, K

COLLECTION = "points"
BATCH, CRASHED_BATCHES = 2000, 10


def name(tenant: int) -> str:
    return f"tenant-{tenant:04d}"


def load(corpus: Corpus, folder: Path) -> dict[str, float]:
    """Makes a directory with the corpus in it, closed with a snapshot. Points are numbered as in the corpus."""
    start = time.perf_counter()
    with Database.open(folder, fsync="off") as database:
        _fill(corpus, database.create_collection(COLLECTION, dim=corpus.vectors.shape[1], metric=corpus.metric))
    disk = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    return {"seconds": time.perf_counter() - start, "disk_mib": disk / 2**20, "raw_mib": corpus.vectors.nbytes / 2**20}


def _fill(corpus: Corpus, into: Collection) -> None:
    for tenant in corpus.lists:
        into.create_tenant(name(tenant))
    for owner, ids in _grouped(corpus.owners, np.arange(len(corpus.owners))):
        for at in range(0, len(ids), BATCH):
            into.upsert(name(owner), Points(ids[at:at + BATCH].astype(np.uint64), corpus.vectors[ids[at:at + BATCH]]))
    pairs = corpus.owners[corpus.grant_ids].astype(np.int64) << 32 | corpus.grant_tenants
    for pair, ids in _grouped(pairs, corpus.grant_ids):
        into.grant(name(pair >> 32), ids, to=name(pair & 0xFFFFFFFF))


def _grouped(keys: np.ndarray, values: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(key, its values) for each key."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    return list(zip(found.tolist(), np.split(values[order], starts[1:]), strict=True))


def crash(corpus: Corpus, folder: Path) -> None:
    points = Database.open(folder).collection(COLLECTION)
    tenant, first = name(int(corpus.owners[0])), len(corpus.vectors)
    for at in range(0, CRASHED_BATCHES * BATCH, BATCH):
        rows = np.arange(at, at + BATCH) % len(corpus.vectors)
        points.upsert(tenant, Points((first + at + np.arange(BATCH)).astype(np.uint64), corpus.vectors[rows]))
    print("{}", flush=True)
    os._exit(0)


def answer(corpus: Corpus, folder: Path) -> dict[str, float]:
    tenant, query = name(int(corpus.tenants[1, 0])), corpus.queries[0].copy()
    before, start = memory_mib(os.getpid()), time.perf_counter()
    with Database.open(folder) as database:
        opened = time.perf_counter()
        database.collection(COLLECTION).search(tenant, query, K)
        answered = time.perf_counter()
        return {"open": opened - start, "first answer": answered - start, "memory": memory_mib(os.getpid()) - before}


def asked(work: str, corpus: Path, folder: Path, seconds: float) -> dict[str, float]:
    """What a process of this module that did the work printed. Raises RuntimeError; TimeoutExpired after so many seconds."""
    command = [sys.executable, "-m", "bench.vectordb.stored", work, str(corpus), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError(f"{work} of a database failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    return json.loads(done.stdout)


def main() -> None:
    work, corpus, folder = sys.argv[1:]
    print(json.dumps({"load": load, "crash": crash, "answer": answer}[work](Corpus.load(Path(corpus)), Path(folder))))


if __name__ == "__main__":
    main()
