"""What qdrant_client has no word for: tenants, roles, quotas, usage, recall, and a tenant's points taken away and brought back."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .connection import Connection


class TenantsMixin(Connection):
    """tenant="" is the caller's own. Other tenants are for administrators."""

    def create_tenant(self, collection_name: str, tenant: str = "", **quota: float) -> None:
        """quota: any of vectors, bytes, queries_per_s, burst."""
        self._call(self._tenants.Create, self._tenant_request(collection_name, tenant, quota))

    def set_quota(self, collection_name: str, tenant: str, **quota: float) -> None:
        """What is left out has no limit any more."""
        self._call(self._tenants.SetQuota, self._tenant_request(collection_name, tenant, quota))

    def delete_tenant(self, collection_name: str, tenant: str) -> int:
        """Deletes what it owns, revokes what it was granted; how many points it saw."""
        return self._call(self._tenants.Drop, self._tenant_request(collection_name, tenant)).count

    def tenants(self, collection_name: str) -> list[str]:
        return list(self._call(self._tenants.List, self._pb.CollectionName(collection=collection_name)).names)

    def usage(self, collection_name: str, tenant: str = "") -> Any:
        """A UsageReply message."""
        return self._call(self._tenants.Usage, self._tenant_request(collection_name, tenant))

    def recall(self, collection_name: str, tenant: str = "") -> float | None:
        """Of sampled searches of the tenant, against the exact search. None before the first sample."""
        reply = self._call(self._tenants.Recall, self._tenant_request(collection_name, tenant))
        return reply.found / reply.expected if reply.expected else None

    def create_role(self, collection_name: str, role: str) -> None:
        self._call(self._tenants.CreateRole, self._pb.RoleRequest(collection=collection_name, role=role))

    def delete_role(self, collection_name: str, role: str) -> int:
        return self._call(self._tenants.DropRole, self._pb.RoleRequest(collection=collection_name, role=role)).count

    def add_member(self, collection_name: str, role: str, tenant: str) -> None:
        """From now on the tenant sees what was and will be granted to the role."""
        self._call(self._tenants.AddMember, self._pb.RoleRequest(collection=collection_name, role=role, tenant=tenant))

    def remove_member(self, collection_name: str, role: str, tenant: str) -> None:
        self._call(self._tenants.RemoveMember, self._pb.RoleRequest(collection=collection_name, role=role, tenant=tenant))

    def export_tenant(self, collection_name: str, tenant: str = "") -> Iterator[bytes]:
        """The pieces of one file with all of the tenant's points, vectors, payloads and grants."""
        cursor = ""
        while True:
            reply = self._call(self._tenants.Export, self._pb.ExportRequest(collection=collection_name, tenant=tenant, cursor=cursor))
            yield bytes(reply.piece)
            cursor = reply.next_cursor
            if not cursor:
                return

    def import_tenant(self, collection_name: str, pieces: Iterable[bytes], tenant: str = "") -> int:
        """Brings an export back, all of it or nothing; how many points."""
        cursor = ""
        for piece in pieces:
            cursor = self._import(collection_name, tenant, cursor, piece=piece).next_cursor
        return self._import(collection_name, tenant, cursor, last=True).points

    def _import(self, collection: str, tenant: str, cursor: str, **rest: Any) -> Any:
        return self._call(self._tenants.Import, self._pb.ImportRequest(collection=collection, tenant=tenant, cursor=cursor, **rest))

    def _tenant_request(self, collection: str, tenant: str, quota: dict[str, float] | None = None) -> Any:
        limits = None if quota is None else self._pb.Quota(**quota)
        return self._pb.TenantRequest(collection=collection, tenant=tenant, quota=limits)
