"""`python -m bench.vectordb.worker SYSTEM FOLDER`: a process with one system and one corpus, which does as it is told.

Reads one JSON object a line, {"work": NAME, ...arguments}, and answers with one. Its memory is its own: what the process has grown by from
just before build, when corpus and packages were there already, is the system's. The cyclic garbage collector rests while a clock runs."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.process import family, memory_mib
from bench.vectordb import systems
from bench.vectordb.corpus import CASES, Corpus, K
from bench.vectordb.systems.base import System

OVERHEAD_CALLS = 2000
TINY = 64
M_MMAP_THRESHOLD, SCRATCH_BYTES = -3, 32 << 20
NEAR = 0.01  # inserted vectors are this part of their length beside those that they were drawn from


class Worker:
    def __init__(self, name: str, corpus: Corpus) -> None:
        self._name, self._corpus = name, corpus
        self._system = systems.make(name)

    def warm(self) -> dict[str, Any]:
        """What the system is. A tiny one is built and searched, so that code and pools of packages are there before memory is read; and that
        tells what a call costs at the least. Not of whole engines."""
        about = {"modes": {mode: list(of) for mode, of in self._system.modes.items()}, "slow": self._system.slow}
        return about if self._system.slow else {**about, "overhead_us": self._overhead(systems.make(self._name))}

    def _overhead(self, system: System) -> float:
        tiny = _tiny(self._corpus)
        system.build(tiny)
        mode, settings = next(iter(system.modes.items()))
        system.use(mode, settings[0])
        query, spent = system.prepare(tiny.queries[:1]), []
        for _ in range(OVERHEAD_CALLS):
            start = time.perf_counter_ns()
            system.search(query, 1, 0)
            spent.append(time.perf_counter_ns() - start)
        return float(np.median(spent)) / 1e3

    def build(self) -> dict[str, float]:
        assert self._corpus.lists  # made now, or it would count as the memory of a system that asks for it
        before, start = _rss(), time.perf_counter()
        self._system.build(self._corpus)
        seconds = time.perf_counter() - start
        raw = self._corpus.vectors.size * self._system.item_bytes / 2**20
        grown = _rss(self._system.pids()) - before
        _keep_blocks_below(SCRATCH_BYTES)
        return {"seconds": seconds, "raw_mib": raw, "grown_mib": grown, "disk_mib": self._system.disk_bytes() / 2**20}

    def search(self, case: str, mode: str, setting: Any, queries: int | None = None, judge: bool = False) -> dict[str, Any]:
        """Microseconds of each query, one after another; and its recall, when they are judged. `queries`: only so many, evenly out of all."""
        tenants = self._corpus.tenants[CASES.index(case)].tolist()
        chosen = chosen_queries(len(tenants), queries)
        prepared = [(self._system.prepare(self._corpus.queries[at:at + 1]), tenants[at]) for at in chosen]
        self._system.use(mode, setting)
        found, spent = [], []
        with _undisturbed():
            for query, tenant in prepared:
                start = time.perf_counter_ns()
                ids = self._system.search(query, K, tenant)
                spent.append(time.perf_counter_ns() - start)
                found.append(ids)
        answer = {"us": [each / 1e3 for each in spent]}
        if judge:
            answer["recall"] = [self._corpus.recall(case, at, ids) for at, ids in zip(chosen, found, strict=True)]
        return answer

    def mutate(self, batches: int, size: int, seed: int = 1) -> dict[str, list[float] | str]:
        """Microseconds each, a batch of `size` at a time: grants of random pairs, their revokes, inserts for an owner each, deletes. Or why not."""
        draw = np.random.default_rng(seed)
        count = len(self._corpus.vectors)
        gone = draw.permutation(count)[:batches * size].reshape(batches, size)
        stay, taken = np.setdiff1d(np.arange(count), gone), set[tuple[int, int]]()
        pairs = [self._new_pairs(draw, stay, size, taken) for _ in range(batches)]
        inserts = [(*self._new_vectors(draw, batch, size), self._corpus.owners[draw.choice(count, size)]) for batch in range(batches)]
        work = {"grant": pairs, "revoke": pairs, "insert": inserts, "delete": [(batch,) for batch in gone]}
        return {change: self._timed(change, of, size) for change, of in work.items()}

    def share(self, batches: int, size: int, seed: int = 1) -> dict[str, list[float] | str]:
        """The same of what whole databases do: an owner inserts a batch, grants it to another tenant, takes it back, deletes it."""
        draw = np.random.default_rng(seed)
        names = np.array(list(self._corpus.lists), np.uint32)
        fresh = [self._new_vectors(draw, batch, size) for batch in range(batches)]
        parties = [np.repeat(draw.choice(names, 2, replace=False)[:, None], size, axis=1) for _ in range(batches)]
        shared = [(ids, to) for (ids, _), (_, to) in zip(fresh, parties, strict=True)]
        work = {"insert": [(*of, owners) for of, (owners, _) in zip(fresh, parties, strict=True)], "grant": shared, "revoke": shared,
                "delete": [(ids,) for ids, _ in fresh]}
        return {change: self._timed(change, of, size) for change, of in work.items()}

    def _new_vectors(self, draw: np.random.Generator, batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids that nobody has, and vectors near some that are there."""
        count = len(self._corpus.vectors)
        vectors = self._corpus.vectors[draw.choice(count, size)]
        vectors = vectors + NEAR * vectors.std() * draw.standard_normal(vectors.shape, np.float32)
        if self._corpus.metric == "cosine":
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.arange(count + batch * size, count + (batch + 1) * size), vectors

    def _new_pairs(self, draw: np.random.Generator, rows: np.ndarray, size: int, taken: set[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Grants that are not there yet, nor in `taken`, which holds them then."""
        lists, tenants, pairs = self._corpus.lists, list(self._corpus.lists), []
        while len(pairs) < size:
            row, tenant = int(draw.choice(rows)), tenants[draw.integers(len(tenants))]
            if (row, tenant) not in taken and row not in lists[tenant][np.searchsorted(lists[tenant], row):][:1]:
                taken.add((row, tenant))
                pairs.append((row, tenant))
        return np.array([row for row, _ in pairs]), np.array([tenant for _, tenant in pairs], np.uint32)

    def _timed(self, work: str, batches: list[tuple[np.ndarray, ...]], size: int) -> list[float] | str:
        spent = []
        try:
            with _undisturbed():
                for arguments in batches:
                    start = time.perf_counter_ns()
                    getattr(self._system, work)(*arguments)
                    spent.append((time.perf_counter_ns() - start) / 1e3 / size)
        except NotImplementedError:
            return "it cannot"
        return spent

    def close(self) -> None:
        self._system.close()


def chosen_queries(have: int, wanted: int | None) -> list[int]:
    """Which queries are asked: all, or evenly out of them."""
    return list(range(have)) if wanted is None or wanted >= have else [int(each) for each in np.linspace(0, have - 1, wanted)]


@contextmanager
def _undisturbed():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _keep_blocks_below(size: int) -> None:
    """malloc's limit, above which a block has pages of its own and goes back to the system with them. See Seat for why it is low until now; for
    searches it is where malloc itself moves it in time, so that numpy's scratch arrays come cheap."""
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, size)


def _tiny(like: Corpus) -> Corpus:
    """Its first vectors, of one tenant."""
    none = np.empty(0, np.uint64)
    return replace(like, vectors=like.vectors[:TINY].copy(), owners=np.zeros(len(like.vectors[:TINY]), np.uint32), grant_ids=none,
                   grant_tenants=none.astype(np.uint32))


def _rss(pids: Sequence[int] = ()) -> float:
    """MiB resident of this process, what was freed given back, and of servers with all that they started, what these share counted once."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return memory_mib(os.getpid()) + sum(memory_mib(child, "Pss") for pid in pids for child in family(pid))


def main() -> None:
    name, folder = sys.argv[1:]
    worker = Worker(name, Corpus.load(Path(folder)))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(worker, order.pop("work"))(**order)), flush=True)
    worker.close()


if __name__ == "__main__":
    main()
