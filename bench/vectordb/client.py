"""`python -m bench.vectordb.client SYSTEM TARGET CORPUS`: the measured client of the service ("mrpc", "grpc" and its address), or the library
itself ("library" and a database's directory). Reads and answers lines of JSON as bench.policy.client does.

Queries are asked as different tenants, as a web backend with many tenants would: each call says for whom it is made."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bench.policy.client import do
from bench.vectordb.corpus import Corpus, K
from bench.vectordb.stored import COLLECTION, name

BATCH = 32
TIMEOUT_S = 30

Search = Callable[[str, np.ndarray], Any]
"""(tenant, vectors [n, d]) -> ids of all n, one after the other. Refused."""


class Refused(Exception):
    """The service has as many calls of the tenant as it takes."""


def over_stub(stack: ExitStack, system: str, target: str) -> Search:
    """By the generated stub, with the vectors as bytes; ids are read where the reply lies."""
    from apps.vectordb import transport

    of = transport.load(system)
    stub = of.pb_grpc.PointsStub(stack.enter_context(of.rpc.insecure_channel(target)))

    def search(tenant: str, vectors: np.ndarray) -> np.ndarray:
        request = of.pb.SearchRequest(collection=COLLECTION, queries=len(vectors), k=K, vectors=vectors.tobytes())
        try:
            reply = stub.Search(request, timeout=TIMEOUT_S, metadata=((transport.TENANT_KEY, tenant),))
        except of.rpc.RpcError as error:
            if error.code() is of.rpc.StatusCode.RESOURCE_EXHAUSTED:
                raise Refused from None
            raise
        return np.asarray(reply.points.ids)

    return search


def in_library(stack: ExitStack, folder: str) -> Search:
    from apps.vectordb.database import Database

    points = stack.enter_context(Database.open(folder)).collection(COLLECTION)

    def search(tenant: str, vectors: np.ndarray) -> list[Any]:
        return [each for hits in points.search(tenant, vectors, K, with_payload=False) for each in hits.ids]

    return search


class Works:
    def __init__(self, search: Search, corpus: Corpus) -> None:
        self._search, self._queries = search, corpus.queries
        self._tenants = [name(tenant) for tenant in corpus.tenants[0].tolist()]
        sizes = sorted(corpus.lists, key=lambda tenant: len(corpus.lists[tenant]))
        self._smallest, self._largest = name(sizes[0]), name(sizes[-1])

    def single(self, calls: int) -> list[float]:
        """Microseconds of searches for one vector, one after another."""
        spent = []
        for at in range(calls):
            at %= len(self._tenants)
            tenant, vectors = self._tenants[at], self._queries[at:at + 1]
            start = time.perf_counter_ns()
            self._search(tenant, vectors)
            spent.append((time.perf_counter_ns() - start) / 1e3)
        return spent

    def batches(self, seconds: float, in_flight: int) -> float:
        """Vectors a second by so many threads, each with one batch after another; closed loop."""
        counts = [0] * in_flight
        until = time.perf_counter() + seconds
        self._together(in_flight, lambda thread: self._ask_until(lambda: time.perf_counter() >= until, thread, counts))
        return sum(counts) * BATCH / seconds

    def flood(self, in_flight: int, done: threading.Event) -> dict[str, int]:
        """Batches as the largest tenant until told otherwise, those that are refused again at once; how many vectors, how many refusals."""
        counts, refused = [0] * in_flight, [0] * in_flight

        def ask(thread: int) -> None:
            while not done.is_set():
                with suppress(Refused):
                    self._ask_until(done.is_set, thread, counts, self._largest)
                    return
                refused[thread] += 1

        self._together(in_flight, ask)
        return {"vectors": sum(counts) * BATCH, "refused": sum(refused)}

    def paced(self, rate: float, seconds: float) -> list[float]:
        """Microseconds of single searches of the smallest tenant at a rate, open loop: each from when it was due."""
        spent, start = [], time.perf_counter()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            at = number % len(self._queries)
            self._search(self._smallest, self._queries[at:at + 1])
            spent.append((time.perf_counter() - due) * 1e6)
        return spent

    def _together(self, threads: int, work: Callable[[int], None]) -> None:
        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for each in running:
            each.start()
        for each in running:
            each.join()

    def _ask_until(self, done: Callable[[], bool], thread: int, counts: list[int], tenant: str | None = None) -> None:
        at = thread * BATCH
        while not done():
            at = (at + BATCH) % (len(self._queries) - BATCH + 1)
            self._search(tenant or self._tenants[at], self._queries[at:at + BATCH])
            counts[thread] += 1


def main() -> None:
    system, target, folder = sys.argv[1:]
    with ExitStack() as stack:
        search = in_library(stack, target) if system == "library" else over_stub(stack, system, target)
        works = Works(search, Corpus.load(Path(folder)))
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(do(works, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
