"""Systems by a short name. Each lives in a process of its own, so that only there its packages are imported."""

from __future__ import annotations

from importlib import import_module

from bench.vectordb.systems.base import System

MODULES = {
    "curator": ("curator", "Curator"), "curator-f16": ("curator", "CuratorHalf"),
    "database": ("database", "Stored"), "by-id-faiss": ("scan", "ByIdFaiss"), "by-id-numpy": ("scan", "ByIdNumpy"),
    "copy-faiss": ("scan", "CopyFaiss"), "copy-numpy": ("scan", "CopyNumpy"),
    "ivf-per-tenant": ("ivf", "IvfPerTenant"),
    "hnsw-per-tenant": ("graphs", "HnswlibPerTenant"), "faiss-hnsw-per-tenant": ("graphs", "FaissPerTenant"),
    "hnsw-callback": ("graphs", "HnswlibFilter"), "hnsw-bitmap": ("graphs", "FaissBitmap"),
    "qdrant": ("qdrant", "Qdrant"), "qdrant-unflushed": ("qdrant", "QdrantUnflushed"), "qdrant-graphs": ("qdrant", "QdrantGraphs"),
    "postgres": ("postgres", "Postgres"), "postgres-partitions": ("postgres", "PostgresPartitions"),
}
IVF = "ivf-bitmap-"


def make(name: str) -> System:
    """A new, empty one: a name of MODULES, or "ivf-bitmap-LISTS". Raises KeyError, ImportError."""
    if name.startswith(IVF):
        from bench.vectordb.systems.ivf import ivf_bitmap

        return ivf_bitmap(int(name.removeprefix(IVF)))()
    module, kind = MODULES[name]
    return getattr(import_module(f"bench.vectordb.systems.{module}"), kind)()
