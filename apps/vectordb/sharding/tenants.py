"""Tenants over shards: all shards know all tenants, roles and members, so that a grant finds whom it names wherever the owner is."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mrpc import RpcError

from .. import translate
from ..database import Quota, imported
from ..database.errors import NotFound
from ..transfers import Transfers
from . import copying, merge
from .calls import current
from .errors import code_of
from .group import UNKNOWN
from .ledger import Party
from .rates import without_rates
from .router import Cluster, Servicer

SUMS = ("points", "visible", "vector_bytes", "payload_bytes", "points_read", "points_written", "points_deleted", "grants", "search_s")


class Tenants(Servicer):
    METHODS = ("Create", "Drop", "List", "SetQuota", "Usage", "Recall", "Export", "Import", "CreateRole", "DropRole", "AddMember",
               "RemoveMember")

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._exports, self._imports = Transfers(), Transfers()

    def Create(self, tenant: str, request: Any) -> Any:
        self._make(tenant, request.collection, request.tenant or tenant, False, Quota.checked(translate.quota(request.quota)))
        return self._pb.Empty()

    def CreateRole(self, tenant: str, request: Any) -> Any:
        self._make(tenant, request.collection, request.role, True, Quota())
        return self._pb.Empty()

    def Drop(self, tenant: str, request: Any) -> Any:
        return self._drop(tenant, request.collection, request.tenant, "Tenants.Drop", request, is_role=False)

    def DropRole(self, tenant: str, request: Any) -> Any:
        return self._drop(tenant, request.collection, request.role, "Tenants.DropRole", request, is_role=True)

    def List(self, tenant: str, request: Any) -> Any:
        """Tenants, and roles with a * behind."""
        self._managed(tenant, request.collection)
        found = sorted((each.name, each.is_role) for each in self._ledger.parties(request.collection) if each.made)
        return self._pb.NameList(names=[name + "*" * is_role for name, is_role in found])

    def SetQuota(self, tenant: str, request: Any) -> Any:
        quota = Quota.checked(translate.quota(request.quota))
        self._managed(tenant, request.collection)
        with self._cluster.changing.alone(current().remaining_s()):
            self._party(request.collection, request.tenant, is_role=False)
            limits = self._pb.Quota(**without_rates(quota))
            named = self._pb.TenantRequest(collection=request.collection, tenant=request.tenant, quota=limits)
            self._cluster.everywhere("Tenants.SetQuota", named)
            self._ledger.set_quota(request.collection, request.tenant, quota)
        return self._pb.Empty()

    def AddMember(self, tenant: str, request: Any) -> Any:
        return self._join(tenant, request, joined=True)

    def RemoveMember(self, tenant: str, request: Any) -> Any:
        return self._join(tenant, request, joined=False)

    def Usage(self, tenant: str, request: Any) -> Any:
        """Points and what was done with them on all shards; calls as the home counts them, which has a part in every one."""
        party, replies = self._figures(tenant, "Tenants.Usage", request)
        usage = merge.summed(self._pb.UsageReply, replies, SUMS)
        usage.queries, usage.refused = replies[0].queries, replies[0].refused
        usage.quota.CopyFrom(self._pb.Quota(**party.quota.model_dump(exclude_none=True)))
        return usage

    def Recall(self, tenant: str, request: Any) -> Any:
        return merge.summed(self._pb.RecallReply, self._figures(tenant, "Tenants.Recall", request)[1], ("queries", "expected", "found"))

    def Export(self, tenant: str, request: Any) -> Any:
        subject = self._about(tenant, request)
        if request.cursor:
            transfer = self._exports.find(tenant, request.cursor)
        else:
            transfer = self._exports.begin(tenant)
            copying.save(self._home(subject), request.collection, subject.name, transfer.file)
            transfer.file.seek(0)
        piece, following = self._exports.read(tenant, transfer)
        return self._pb.ExportReply(piece=piece, next_cursor=following)

    def Import(self, tenant: str, request: Any) -> Any:
        """For administrators. The file is read here, too: the ledger is to know who sees its points."""
        self._managed(tenant, request.collection)
        points, following = self._imports.receive(tenant, request, lambda path: self._import(request, path))
        return self._pb.ImportReply(points=points, next_cursor=following)

    def _import(self, request: Any, path: Path) -> int:
        found = imported.read(path, imported.config_in(path))
        with self._cluster.changing.alone(current().remaining_s()):
            return self._import_read(request, found, path)

    def _import_read(self, request: Any, found: imported.Imported, path: Path) -> int:
        """REFUSE makes the tenant first, and brings its points into what is there then."""
        collection, name = request.collection, request.tenant or found.tenant
        if is_new := not request.conflicts or self._ledger.party(collection, name) is None:
            self._cluster.make(collection, name, False, found.quota)
        try:
            return self._bring(collection, name, found, path, translate.CONFLICTS[request.conflicts or 1].upper())
        except RpcError as error:
            if is_new and code_of(error) not in UNKNOWN:
                self._forget(collection, name, "Tenants.Drop", self._pb.TenantRequest(collection=collection, tenant=name))
            raise

    def _bring(self, collection: str, name: str, found: imported.Imported, path: Path, conflicts: str) -> int:
        group = self._home(self._party(collection, name, is_role=False))
        for grantee in {grantee for grantee, _ in found.shown} - {name}:
            if self._ledger.party(collection, grantee):
                self._ledger.note_grant(collection, name, grantee)
        with group.order.of((collection, name), current().remaining_s()):
            return group.do(lambda replica: copying.Import(replica, collection, name, copying.pieces(path), conflicts), (collection, name))

    def _managed(self, tenant: str, collection: str) -> None:
        self._only_admins(tenant)
        if not self._ledger.collection(collection):
            raise NotFound(f"there is no collection {collection!r}")

    def _make(self, tenant: str, collection: str, name: str, is_role: bool, quota: Quota) -> None:
        self._managed(tenant, collection)
        with self._cluster.changing.alone(current().remaining_s()):
            self._cluster.make(collection, name, is_role, quota)

    def _drop(self, tenant: str, collection: str, name: str, method: str, request: Any, *, is_role: bool) -> Any:
        self._managed(tenant, collection)
        with self._cluster.changing.alone(current().remaining_s()):
            self._party(collection, name, is_role)
            return self._pb.Changed(count=self._forget(collection, name, method, request))

    def _forget(self, collection: str, name: str, method: str, request: Any) -> int:
        count = sum(each.count for each in self._cluster.everywhere(method, request, done="NOT_FOUND"))
        self._ledger.drop(collection, name)
        return count

    def _join(self, tenant: str, request: Any, *, joined: bool) -> Any:
        """The ledger knows of a member before any shard does, and until none does."""
        self._managed(tenant, request.collection)
        with self._cluster.changing.alone(current().remaining_s()):
            self._party(request.collection, request.role, is_role=True)
            self._party(request.collection, request.tenant, is_role=False)
            names = request.collection, request.role, request.tenant
            if joined:
                self._ledger.join(*names)
                self._cluster.everywhere("Tenants.AddMember", request)
            else:
                self._cluster.everywhere("Tenants.RemoveMember", request)
                self._ledger.leave(*names)
        return self._pb.Empty()

    def _party(self, collection: str, name: str, is_role: bool) -> Party:
        party = self._ledger.party(collection, name)
        if party is None or party.is_role != is_role:
            raise NotFound(f"there is no {'role' if is_role else 'tenant'} {name!r}")
        return party

    def _about(self, tenant: str, request: Any) -> Party:
        """The tenant in question: the caller, or for an administrator any."""
        if request.tenant in ("", tenant):
            return self._open(tenant, request.collection)
        self._managed(tenant, request.collection)
        return self._party(request.collection, request.tenant, is_role=False)

    def _figures(self, tenant: str, method: str, request: Any) -> tuple[Party, list[Any]]:
        """Of the tenant in question, from all shards where it may have something, its home first."""
        party = self._about(tenant, request)
        asked = self._pb.TenantRequest(collection=request.collection, tenant=party.name)
        return party, self._steady(lambda: self._ask(self._ledger.shards(request.collection, party.name), method, asked, ""))
