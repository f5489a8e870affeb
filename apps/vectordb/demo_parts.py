"""What the demo does besides telling: loads, asks as several tenants, and takes times."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from .client import Client, models
from .client.text import terms
from .data import Dataset
from .data.embed import Report

COLLECTION = "texts"
WORDS = "words"  # the texts' sparse vectors
LIBRARY = "library"  # the tenant that owns all texts
BATCH = 2000  # texts stored by a call
GRANTERS = 8  # calls at once, which share the service's waits for the disk
SAMPLES = 256  # searches that are timed
CALLERS_BATCH = 32


class Tenants:
    """`tenants["music"]` is a client that acts for music. Without a name it acts for the program itself, an administrator."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._open = ExitStack()

    def __enter__(self) -> Tenants:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __getitem__(self, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = self._open.enter_context(Client(tenant=name, timeout=60))
        return self._clients[name]


class Loaded(NamedTuple):
    texts: int
    tenants: int
    grants: int
    storing_s: float
    granting_s: float
    vector_bytes: int


def load(data: Dataset, tenants: Tenants, stored: Report, granted: Report) -> Loaded:
    """The library stores all texts, then grants each tenant of the data what it sees there."""
    admin, library = tenants[""], tenants[LIBRARY]
    admin.create_collection(COLLECTION, models.VectorParams(data.dim, models.Distance.COSINE),
                            {WORDS: models.SparseVectorParams(models.Modifier.BM25)})
    admin.create_tenant(COLLECTION, LIBRARY)
    began = time.perf_counter()
    for start in range(0, len(data), BATCH):
        rows = slice(start, min(start + BATCH, len(data)))
        texts = data.texts[rows]
        vectors = {"": data.vectors[rows], WORDS: list(map(terms, texts))}
        library.upsert(COLLECTION, models.Batch(data.ids[rows], vectors, [{"text": text} for text in texts]))
        stored(rows.stop, len(data))
    between = time.perf_counter()

    def admit(number: int) -> None:
        admin.create_tenant(COLLECTION, data.tenant_names[number])
        library.grant(COLLECTION, data.visible(number), to=data.tenant_names[number])

    with ThreadPoolExecutor(GRANTERS) as several:
        for done, _ in enumerate(several.map(admit, range(len(data.tenant_names))), 1):
            granted(done, len(data.tenant_names))
    return Loaded(len(data), len(data.tenant_names), int(data.sizes.sum()), between - began, time.perf_counter() - between, data.vectors.nbytes)


class Searches(NamedTuple):
    sees: int
    p50_us: float
    p99_us: float
    batched_per_s: float
    recall: float


def time_searches(data: Dataset, client: Client, k: int = 10) -> Searches:
    """Of one caller, who asks the data's held-out queries."""
    queries = data.queries[:SAMPLES]
    client.search_columns(COLLECTION, queries[:1], k)
    alone_us = np.array([timed(lambda query=query: client.search_columns(COLLECTION, query, k)) for query in queries]) * 1e6
    batches = [queries[at : at + CALLERS_BATCH] for at in range(0, len(queries), CALLERS_BATCH)]
    batched_s = sum(timed(lambda batch=batch: client.search_columns(COLLECTION, batch, k)) for batch in batches)
    return Searches(client.count(COLLECTION).count, float(np.median(alone_us)), float(np.percentile(alone_us, 99)),
                    len(queries) / batched_s, recall(client, queries, k))


def recall(client: Client, queries: np.ndarray, k: int) -> float:
    """What share of the exact search's answers the usual search finds; an equal distance counts."""
    found = client.search_columns(COLLECTION, queries, k)
    exact = client.search_columns(COLLECTION, queries, k, search_params=models.SearchParams(exact=True))
    ends = np.cumsum(exact[2])
    worst = exact[1][ends - 1]  # the similarity of the last true answer of each query
    hits = found[1] >= np.repeat(worst, found[2]) - 1e-6
    return float(hits.sum() / exact[2].sum())


class Sharing(NamedTuple):
    one_us: float
    batch: int
    each_us: float


def time_sharing(tenants: Tenants, to: str, batch: int = 1000, rounds: int = 20) -> Sharing:
    """Durable grants and revokes by the library, of one point and of many. They leave what is granted as it was."""
    library = tenants[LIBRARY]
    seen = {point.id for point in scrolled(tenants[to]) if point.owner == LIBRARY}
    ids = np.array([number for number in range(library.count(COLLECTION).count) if number not in seen][:batch], np.uint64)

    def both(some: np.ndarray) -> Callable[[], None]:
        def share() -> None:
            library.grant(COLLECTION, some, to=to)
            library.revoke(COLLECTION, some, to=to)
        return share

    one = float(np.median([timed(both(ids[:1])) for _ in range(rounds)])) / 2
    each = min(timed(both(ids)) for _ in range(3)) / 2 / len(ids)
    return Sharing(one * 1e6, len(ids), each * 1e6)


def scrolled(client: Client) -> list[models.Record]:
    """All that the client's tenant sees."""
    records, offset = client.scroll(COLLECTION, limit=1000)
    while offset:
        more, offset = client.scroll(COLLECTION, limit=1000, offset=offset)
        records += more
    return records


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
