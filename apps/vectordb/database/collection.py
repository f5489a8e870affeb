"""A collection as its users see it. Every operation on points names the tenant that acts, first.

A point belongs to the tenant that wrote it, and is named by an id in that tenant's name space: `7`, a UUID's text, or
("acme", 7) for a point of another. Only its owner changes, grants or deletes it. What a tenant may not see is NotFound, like what
is not there. A batch is done whole or not at all; when a call returns, what it did is durable and every later read sees it.
Which points: ids, or a filter in qdrant's shape, which then takes from the tenant's own points.

Any thread may call anything at any time; reads wait for nobody.
"""
from __future__ import annotations

from .browsing import BrowseOperations
from .exploring import ExploreOperations
from .hybrid import HybridOperations
from .tenants import TenantOperations
from .transfer import Transfer
from .writes import WriteOperations

__all__ = ["Collection"]


class Collection(TenantOperations, WriteOperations, HybridOperations, BrowseOperations, ExploreOperations, Transfer):
    """One of a Database, which makes it: create_collection() and collection()."""

    def check(self) -> None:
        """Verifies the index's invariants. AssertionError."""
        self._contents.index.check()
