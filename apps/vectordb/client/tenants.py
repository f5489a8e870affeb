"""What qdrant_client has no word for: tenants, roles, quotas, usage, recall, and a tenant's points taken away and brought back."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .connection import Base
from .operations import operation


class TenantsMixin(Base):
    """tenant="" is the caller's own. Other tenants are for administrators."""

    @operation
    async def create_tenant(self, collection_name: str, tenant: str = "", **quota: float) -> None:
        """quota: any of vectors, bytes, queries_per_s, burst."""
        await self._call(self._tenants.Create, self._tenant_request(collection_name, tenant, quota))

    @operation
    async def set_quota(self, collection_name: str, tenant: str, **quota: float) -> None:
        """What is left out has no limit any more."""
        await self._call(self._tenants.SetQuota, self._tenant_request(collection_name, tenant, quota))

    @operation
    async def delete_tenant(self, collection_name: str, tenant: str) -> int:
        """Deletes what it owns, revokes what it was granted; how many points it saw."""
        reply = await self._call(self._tenants.Drop, self._tenant_request(collection_name, tenant))
        return reply.count

    @operation
    async def tenants(self, collection_name: str) -> list[str]:
        reply = await self._call(self._tenants.List, self._pb.CollectionName(collection=collection_name))
        return list(reply.names)

    @operation
    async def usage(self, collection_name: str, tenant: str = "") -> Any:
        """A UsageReply message."""
        return await self._call(self._tenants.Usage, self._tenant_request(collection_name, tenant))

    @operation
    async def recall(self, collection_name: str, tenant: str = "") -> float | None:
        """Of sampled searches of the tenant, against the exact search. None before the first sample."""
        reply = await self._call(self._tenants.Recall, self._tenant_request(collection_name, tenant))
        return reply.found / reply.expected if reply.expected else None

    @operation
    async def create_role(self, collection_name: str, role: str) -> None:
        await self._call(self._tenants.CreateRole, self._pb.RoleRequest(collection=collection_name, role=role))

    @operation
    async def delete_role(self, collection_name: str, role: str) -> int:
        reply = await self._call(self._tenants.DropRole, self._pb.RoleRequest(collection=collection_name, role=role))
        return reply.count

    @operation
    async def add_member(self, collection_name: str, role: str, tenant: str) -> None:
        """From now on the tenant sees what was and will be granted to the role."""
        await self._call(self._tenants.AddMember, self._pb.RoleRequest(collection=collection_name, role=role, tenant=tenant))

    @operation
    async def remove_member(self, collection_name: str, role: str, tenant: str) -> None:
        await self._call(self._tenants.RemoveMember, self._pb.RoleRequest(collection=collection_name, role=role, tenant=tenant))

    @operation
    async def import_tenant(self, collection_name: str, pieces: Iterable[bytes], tenant: str = "", *, conflicts: str = "refuse") -> int:
        """Brings an export back, all of it or nothing; how many points were written.

        conflicts: for a tenant that is there already. "refuse": an error; "replace": the export's points take the place of those with their
        ids, whose grants stay; "skip": those stay as they are. ValueError for another.
        """
        cursor = ""
        for piece in pieces:
            cursor = (await self._import(collection_name, tenant, cursor, piece=piece)).next_cursor
        return (await self._import(collection_name, tenant, cursor, last=True, conflicts=conflicts.upper())).points

    async def _import(self, collection: str, tenant: str, cursor: str, **rest: Any) -> Any:
        request = self._pb.ImportRequest(collection=collection, tenant=tenant, cursor=cursor, **rest)
        return await self._call(self._tenants.Import, request)

    async def _export(self, collection: str, tenant: str, cursor: str) -> tuple[bytes, str]:
        """A piece, and the cursor of the next."""
        reply = await self._call(self._tenants.Export, self._pb.ExportRequest(collection=collection, tenant=tenant, cursor=cursor))
        return bytes(reply.piece), reply.next_cursor

    def _tenant_request(self, collection: str, tenant: str, quota: dict[str, float] | None = None) -> Any:
        limits = None if quota is None else self._pb.Quota(**quota)
        return self._pb.TenantRequest(collection=collection, tenant=tenant, quota=limits)
