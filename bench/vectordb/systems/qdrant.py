"""Qdrant's engine in this process (qdrant-edge-py): a keyword array of tenants with is_tenant, planner as it is, or a graph for each tenant.

The wheel has the core of the server without its network; the planner scans a tenant's points below `full_scan_threshold`. It writes a
write-ahead log, as our database does and our bare index does not; changes end with a flush, which makes them durable."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qdrant

from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.access import Access
from bench.vectordb.systems.base import System

BATCH = 1000
FIELD = "tenants"
THRESHOLD_KB = 10_000  # the server's default of full_scan_threshold and indexing_threshold
EFFORTS = (16, 32, 64, 128, 256, 512, 1024)


class Qdrant(System):
    slow = True
    modes = {"Qdrant (edge, is_tenant)": EFFORTS}
    links, payload_links, threshold_kb = 16, None, THRESHOLD_KB
    durable = True

    def build(self, corpus: Corpus) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="qdrant-"))
        distance = qdrant.Distance.Dot if corpus.metric == "cosine" else qdrant.Distance.Euclid
        graph = qdrant.HnswIndexConfig(self.links, 100, self.threshold_kb, max_indexing_threads=1, payload_m=self.payload_links)
        config = qdrant.EdgeConfig(vectors=qdrant.EdgeVectorParams(corpus.vectors.shape[1], distance), hnsw_config=graph, max_search_threads=1,
                                   optimizers=qdrant.EdgeOptimizersConfig(indexing_threshold=self.threshold_kb, default_segment_number=1))
        self._shard = qdrant.EdgeShard.create(str(self._folder / "shard"), config)
        self._shard.update(qdrant.UpdateOperation.create_field_index(FIELD, qdrant.KeywordIndexParams(is_tenant=True)))
        self._access = Access(corpus)
        for at in range(0, len(corpus.vectors), BATCH):
            ids = corpus.ids[at:at + BATCH]
            self._upsert(ids, corpus.vectors[at:at + BATCH])
        self._shard.optimize()
        self._shard.flush()
        self._params, self._filters = None, dict[int, Any]()

    def _payload(self, row: int) -> dict[str, list[str]]:
        return {FIELD: [str(tenant) for tenant in self._access.of(row)]}

    def _upsert(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        points = [qdrant.Point(row, vector, self._payload(row)) for row, vector in zip(ids.tolist(), vectors.tolist(), strict=True)]
        self._shard.update(qdrant.UpdateOperation.upsert_points(points))

    def use(self, mode: str, setting: int) -> None:
        self._params = qdrant.SearchParams(hnsw_ef=setting)

    def prepare(self, query: np.ndarray) -> Any:
        return qdrant.Query.Nearest(query[0].tolist())

    def search(self, query: Any, k: int, tenant: int) -> Sequence[int]:
        if tenant not in self._filters:
            self._filters[tenant] = qdrant.Filter(must=[qdrant.FieldCondition(FIELD, match=qdrant.MatchValue(str(tenant)))])
        request = qdrant.SearchRequest(query, k, filter=self._filters[tenant], params=self._params, with_payload=False)
        return [point.id for point in self._shard.search(request)]

    def _write(self, ids: np.ndarray) -> None:
        """Payloads of these points, those that are equal in one operation."""
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for row in dict.fromkeys(ids.tolist()):
            alike[tuple(self._access.of(row))].append(row)
        for rows in alike.values():
            self._shard.update(qdrant.UpdateOperation.set_payload(rows, self._payload(rows[0])))
        self._settle()

    def _settle(self) -> None:
        if self.durable:
            self._shard.flush()

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._access.grant(ids, tenants)
        self._write(ids)

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._access.revoke(ids, tenants)
        self._write(ids)

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._access.grant(ids, owners)
        self._upsert(ids, vectors)
        self._settle()

    def delete(self, ids: np.ndarray) -> None:
        self._shard.update(qdrant.UpdateOperation.delete_points(ids.tolist()))
        self._settle()

    def disk_bytes(self) -> int:
        return sum(path.stat().st_blocks * 512 for path in self._folder.rglob("*") if path.is_file())

    def close(self) -> None:
        self._shard.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class QdrantUnflushed(Qdrant):
    """Changes are acknowledged when they are in the log, which the system writes to disk some time later: how the server runs by default."""

    modes = {"Qdrant (edge, is_tenant, not durable)": EFFORTS}
    durable = False


class QdrantGraphs(Qdrant):
    """No graph of all, but one for each tenant, as Qdrant's page on tenants advises; from 1 KB on instead of 10 MB, or hardly any tenant had one."""

    modes = {"Qdrant (edge, graph per tenant)": EFFORTS}
    links, payload_links, threshold_kb = 0, 16, 1
