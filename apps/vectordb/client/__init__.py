"""A client in qdrant_client's manners: `from apps.vectordb.client import QdrantClient, models`.

    client = QdrantClient()                       # whoever offers vectordb on the mesh; QdrantClient(tenant="acme") acts for acme
    client.upsert("papers", [models.PointStruct(1, [0.1, 0.9], {"year": 2026})])
    client.grant("papers", [1], to="globex")
    client.query_points("papers", [0.2, 0.8], limit=3).points

AsyncQdrantClient has the same methods as coroutines. Errors are those of exceptions.py. What is as at qdrant_client, what differs,
and what is not there: PORTING.md.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from . import exceptions, models
from .browse import BrowseMixin
from .collections import CollectionsMixin
from .connection import AsyncConnection, Connection
from .operations import finish
from .reasons import reason
from .tenants import TenantsMixin
from .writes import WritesMixin


class Methods(CollectionsMixin, WritesMixin, BrowseMixin, TenantsMixin):
    """What both clients can."""


class Client(Connection, Methods):
    """A connection with all methods; see Base for what it is made of."""

    def export_tenant(self, collection_name: str, tenant: str = "") -> Iterator[bytes]:
        """The pieces of one file with all of the tenant's points, vectors, payloads and grants."""
        cursor: str | None = ""
        while cursor is not None:
            piece, following = finish(self._export(collection_name, tenant, cursor))
            yield piece
            cursor = following or None


class AsyncClient(AsyncConnection, Methods):
    """The same, for asyncio."""

    async def export_tenant(self, collection_name: str, tenant: str = "") -> AsyncIterator[bytes]:
        """The pieces of one file with all of the tenant's points, vectors, payloads and grants."""
        cursor: str | None = ""
        while cursor is not None:
            piece, following = await self._export(collection_name, tenant, cursor)
            yield piece
            cursor = following or None


QdrantClient, AsyncQdrantClient = Client, AsyncClient

__all__ = ["AsyncClient", "AsyncQdrantClient", "Client", "QdrantClient", "exceptions", "models", "reason"]
