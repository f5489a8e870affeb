"""The three services of vectordb.proto over a Database: translation only.

Methods take (tenant, request): on whose behalf, as the mesh has verified it, and a message. They raise the database's errors,
which statuses.py maps. A collection in which the caller is no tenant is NotFound, like one that is not there.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from . import selection, sparse, translate
from .browse import Browse
from .database import Points as Batch
from .database import Quota
from .database.errors import AlreadyExists, NotFound
from .database.fusion import RRF_K
from .servicer import Servicer
from .transfers import Transfers


class Points(Browse):
    METHODS = ("Upsert", "Delete", "SetPayload", "DeletePayload", "Grant", "Revoke", "Search", "Fuse", "Get", "Scroll", "Count", *Browse.METHODS)

    def Upsert(self, tenant: str, request: Any) -> Any:
        collection = self._open_for_writing(tenant, request.collection)
        ids = translate.ids(request)
        batch = Batch(ids, translate.vectors(request, len(ids)), translate.payloads(request), sparse.batch(request.sparse))
        return self._pb.Changed(count=collection.upsert(tenant, batch, keep_payloads=request.keep_payloads))

    def Delete(self, tenant: str, request: Any) -> Any:
        collection = self._open(tenant, request.collection)
        return self._pb.Changed(count=collection.delete(tenant, translate.selected(request.points)))

    def SetPayload(self, tenant: str, request: Any) -> Any:
        collection, which = self._open(tenant, request.collection), translate.selected(request.points)
        payload = translate.payload(request.payload)
        return self._pb.Changed(count=collection.set_payload(tenant, which, payload, replace=request.overwrite, key=request.key))

    def DeletePayload(self, tenant: str, request: Any) -> Any:
        collection = self._open(tenant, request.collection)
        return self._pb.Changed(count=collection.delete_payload(tenant, translate.selected(request.points), list(request.keys)))

    def Grant(self, tenant: str, request: Any) -> Any:
        collection = self._open(tenant, request.collection)
        return self._pb.Changed(count=collection.grant(tenant, translate.selected(request.points), to=request.to))

    def Revoke(self, tenant: str, request: Any) -> Any:
        collection = self._open(tenant, request.collection)
        return self._pb.Changed(count=collection.revoke(tenant, translate.selected(request.points), request.to))

    def Search(self, tenant: str, request: Any) -> Any:
        collection = self._open(tenant, request.collection)
        found, metric = self._searched(tenant, collection, request, request.k, translate.optional_filter(request), request.with_payload)
        return self._found(self.Search, tenant, collection, request, found, metric)

    def Fuse(self, tenant: str, request: Any) -> Any:
        collection = self._open(tenant, request.collection)
        found = collection.fuse_columns(
            tenant, sparse.searches(request), request.limit or request.k, sparse.FUSIONS.get(request.fusion), translate.optional_filter(request),
            with_payload=request.with_payload, rrf_k=request.rrf_k or RRF_K, weights=list(request.weights) or None)
        if request.HasField("score_threshold"):
            found = translate.near_enough(found, "ip", request.score_threshold)
        return self._found(self.Fuse, tenant, collection, request, found, "ip")

    def Get(self, tenant: str, request: Any) -> Any:
        refs = translate.named(request.points)
        found = self._open(tenant, request.collection).get(tenant, refs, with_payload=request.with_payload,
                                                           with_vector=request.with_vectors, skip_missing=True)
        return self._replies.records(found, tenant, selection.chooser(request))

    def Scroll(self, tenant: str, request: Any) -> Any:
        if request.HasField("order_by"):
            return self._scroll_ordered(tenant, request)
        page = self._open(tenant, request.collection).scroll(
            tenant, translate.optional_filter(request), limit=request.limit, cursor=request.cursor or None,
            with_payload=request.with_payload, with_vector=request.with_vectors)
        return self._pb.ScrollReply(points=self._replies.records(page.records, tenant, selection.chooser(request)), next_cursor=page.cursor or "")

    def Count(self, tenant: str, request: Any) -> Any:
        return self._pb.CountReply(count=self._open(tenant, request.collection).count(tenant, translate.optional_filter(request)))

    def _open_for_writing(self, tenant: str, name: str) -> Any:
        if self._newcomers is not None and (collection := self._find(name)) and not collection.has_tenant(tenant):
            with suppress(AlreadyExists):  # two first writes at once; or a role's name, which _open refuses
                collection.create_tenant(tenant, self._newcomers)
        return self._open(tenant, name)


class Collections(Servicer):
    METHODS = ("Create", "Drop", "List", "Describe")

    def Create(self, tenant: str, request: Any) -> Any:
        """The administrator who makes a collection becomes its first tenant."""
        self._only_admins(tenant)
        settings = {"recall": request.recall} if request.recall else {}
        made = self._database.create_collection(request.collection, dim=request.dim, metric=translate.METRICS.get(request.metric or 1),
                                                dtype=translate.DTYPES.get(request.dtype or 1), sparse=sparse.settings(request), **settings)
        made.create_tenant(tenant)
        return self._pb.Empty()

    def Drop(self, tenant: str, request: Any) -> Any:
        self._only_admins(tenant)
        self._database.drop_collection(request.collection)
        return self._pb.Empty()

    def List(self, tenant: str, request: Any) -> Any:
        """Those in which the caller is a tenant; all for an administrator."""
        return self._pb.CollectionList(collections=[self._config(each) for each in self._seen(tenant)])

    def Describe(self, tenant: str, request: Any) -> Any:
        return self._config(self._open(tenant, request.collection))

    def _seen(self, tenant: str) -> Iterator[Any]:
        for collection in filter(None, map(self._find, self._database.collections())):  # one may be dropped meanwhile
            if tenant in self._admins or collection.has_tenant(tenant):
                yield collection

    def _config(self, collection: Any) -> Any:
        config = collection.config
        return self._pb.CollectionConfig(collection=config.name, dim=config.dim, metric=translate.number(translate.METRICS, config.metric),
                                         dtype=translate.number(translate.DTYPES, config.dtype), recall=config.recall,
                                         sparse=sparse.params(self._pb, config.sparse))


class Tenants(Servicer):
    METHODS = ("Create", "Drop", "List", "SetQuota", "Usage", "Recall", "Export", "Import", "CreateRole", "DropRole", "AddMember",
               "RemoveMember")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._exports, self._imports = Transfers(), Transfers()

    def Create(self, tenant: str, request: Any) -> Any:
        quota = Quota.checked(translate.quota(request.quota))
        self._managed(tenant, request.collection).create_tenant(request.tenant or tenant, quota)
        return self._pb.Empty()

    def Drop(self, tenant: str, request: Any) -> Any:
        return self._drop(tenant, request.collection, request.tenant, is_role=False)

    def List(self, tenant: str, request: Any) -> Any:
        """Tenants, and roles with a * behind."""
        found = self._managed(tenant, request.collection).tenants()
        return self._pb.NameList(names=[each.name + "*" * each.is_role for each in found])

    def SetQuota(self, tenant: str, request: Any) -> Any:
        quota = Quota.checked(translate.quota(request.quota))
        self._managed(tenant, request.collection).set_quota(request.tenant, quota)
        return self._pb.Empty()

    def Usage(self, tenant: str, request: Any) -> Any:
        collection, subject = self._about(tenant, request)
        usage, quota = collection.usage(subject), collection.tenant(subject).quota
        return self._pb.UsageReply(**usage._asdict(), quota=self._pb.Quota(**quota.model_dump()))

    def Recall(self, tenant: str, request: Any) -> Any:
        collection, subject = self._about(tenant, request)
        return self._pb.RecallReply(**collection.recall(subject)._asdict())

    def Export(self, tenant: str, request: Any) -> Any:
        collection, subject = self._about(tenant, request)
        if request.cursor:
            transfer = self._exports.find(tenant, request.cursor)
        else:
            transfer = self._exports.begin(tenant)
            collection.export_tenant(subject, transfer.path)
        piece, following = self._exports.read(tenant, transfer)
        return self._pb.ExportReply(piece=piece, next_cursor=following)

    def Import(self, tenant: str, request: Any) -> Any:
        """For administrators: an export has the owner's quota, and names of those who see its points."""
        collection = self._managed(tenant, request.collection)
        points, following = self._imports.receive(tenant, request, lambda path: collection.import_tenant(
            path, request.tenant or None, conflicts=translate.CONFLICTS.get(request.conflicts)))
        return self._pb.ImportReply(points=points, next_cursor=following)

    def CreateRole(self, tenant: str, request: Any) -> Any:
        self._managed(tenant, request.collection).create_role(request.role)
        return self._pb.Empty()

    def DropRole(self, tenant: str, request: Any) -> Any:
        return self._drop(tenant, request.collection, request.role, is_role=True)

    def AddMember(self, tenant: str, request: Any) -> Any:
        self._managed(tenant, request.collection).add_member(request.role, request.tenant)
        return self._pb.Empty()

    def RemoveMember(self, tenant: str, request: Any) -> Any:
        self._managed(tenant, request.collection).remove_member(request.role, request.tenant)
        return self._pb.Empty()

    def _about(self, tenant: str, request: Any) -> tuple[Any, str]:
        """The collection, and the tenant in question: the caller, or for an administrator any."""
        if request.tenant in ("", tenant):
            return self._open(tenant, request.collection), tenant
        return self._managed(tenant, request.collection), request.tenant

    def _drop(self, tenant: str, collection_name: str, name: str, *, is_role: bool) -> Any:
        collection = self._managed(tenant, collection_name)
        if collection.tenant(name).is_role != is_role:
            raise NotFound(f"there is no {'role' if is_role else 'tenant'} {name!r}")
        return self._pb.Changed(count=collection.drop_tenant(name))


SERVICERS: dict[str, Callable[..., Servicer]] = {"Points": Points, "Collections": Collections, "Tenants": Tenants}
"""By the service's name in vectordb.proto."""
