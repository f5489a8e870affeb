"""What the three services have in common: who may see which collection."""
from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .database import Database, Quota
from .database.errors import NotFound
from .database.queries import Pace
from .statuses import only_admins
from .translate import Replies
from .transport import Transport


class Servicer:
    """admins: tenants that may change collections, tenants and roles. newcomers: the quota of tenants that are made at their first
    write; None: only administrators make tenants. pace(tenant): that of its batches of searches."""

    METHODS: tuple[str, ...]

    def __init__(self, database: Database, transport: Transport, admins: Collection[str], newcomers: Quota | None = None,
                 pace: Callable[[str], Pace | None] = lambda tenant: None) -> None:
        self._database, self._pb, self._admins, self._newcomers, self._pace = database, transport.pb, admins, newcomers, pace
        self._replies = Replies(transport.pb)

    def _open(self, tenant: str, name: str) -> Any:
        """The collection, for a tenant of it."""
        collection = self._find(name)
        if collection is None or not collection.has_tenant(tenant):
            raise NotFound(f"there is no collection {name!r} with a tenant {tenant!r}")
        return collection

    def _find(self, name: str) -> Any:
        try:
            return self._database.collection(name)
        except NotFound:
            return None

    def _managed(self, tenant: str, name: str) -> Any:
        """The collection, for an administrator."""
        self._only_admins(tenant)
        return self._database.collection(name)

    def _only_admins(self, tenant: str) -> None:
        only_admins(self._admins, tenant)
