"""A multi-tenant vector database in a directory; a plain Python library that knows nothing of RPC.

    with Database.open("data") as db:
        papers = db.create_collection("papers", dim=256, metric="cosine")
        papers.create_tenant("acme")
        papers.create_tenant("bolt")
        papers.upsert("acme", [Point(1, vector, {"year": 2024}), Point(2, other)])
        papers.grant("acme", [1], to="bolt")
        for hit in papers.search("bolt", vector, k=10, filter={"must": [{"key": "year", "range": {"gte": 2020}}]}):
            print(hit.owner, hit.id, hit.distance, hit.payload)
"""
from .collection import Collection
from .database import Database
from .errors import AlreadyExists, Closed, Damaged, DatabaseError, Denied, DiskFull, Invalid, Locked, NotFound, QuotaExceeded
from .filters import Filter
from .model import CollectionConfig, Hit, Hits, Page, Point, Points, Quota, Recall, Record, Results, Search, Sparse, SparseParams, TenantInfo, Usage

__all__ = [
    "AlreadyExists", "Closed", "Collection", "CollectionConfig", "Damaged", "Database", "DatabaseError", "Denied", "DiskFull", "Filter", "Hit",
    "Hits", "Invalid", "Locked", "NotFound", "Page", "Point", "Points", "Quota", "QuotaExceeded", "Recall", "Record", "Results", "Search", "Sparse",
    "SparseParams", "TenantInfo", "Usage",
]
