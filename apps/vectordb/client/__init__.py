"""A client in qdrant_client's manners: `from apps.vectordb.client import QdrantClient, models`.

    client = QdrantClient()                       # whoever offers vectordb on the mesh; QdrantClient(tenant="acme") acts for acme
    client.upsert("papers", [models.PointStruct(1, [0.1, 0.9], {"year": 2026})])
    client.grant("papers", [1], to="globex")
    client.query_points("papers", [0.2, 0.8], limit=3).points

Errors are the transport's RpcError: code(), details(), and reason(error) for programs.
"""
from __future__ import annotations

from . import models
from .points import PointsMixin
from .reasons import reason
from .tenants import TenantsMixin


class Client(PointsMixin, TenantsMixin):
    """A connection with all methods; see Connection for what it is made of."""


QdrantClient = Client

__all__ = ["Client", "QdrantClient", "models", "reason"]
