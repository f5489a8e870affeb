"""The three services of vectordb.proto over shards: who is where, which shards a call concerns, and one answer of theirs.

Methods take (tenant, request), as those of service.py do, and refuse with the same errors; a shard's refusal passes through as it is.
"""
from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import blake2b
from typing import Any, TypeVar

from mrpc import RpcError

from ..database import Quota
from ..database.errors import AlreadyExists, Invalid, NotFound
from ..database.model import PAGE_MAX
from ..statuses import only_admins
from ..transport import load
from . import merge
from .calls import current
from .errors import Unsupported, code_of
from .group import UNKNOWN, Group, Read
from .ledger import Ledger, Party
from .order import Order
from .rates import Rates, without_rates

T = TypeVar("T")
MESH_NAME_MAX = 63
EUCLID = 3  # a Metric: scores are distances
_ENDS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_INNER = _ENDS | frozenset("._-")


def is_mesh_name(name: str) -> bool:
    """Whether the mesh lets an app act for a tenant of that name."""
    return 0 < len(name) <= MESH_NAME_MAX and {name[0], name[-1]} <= _ENDS and _INNER.issuperset(name)


class Cluster:
    """What the servicers share. groups: shards by name. admins, newcomers: as Servicer's. changing: turns of administrators."""

    def __init__(self, groups: dict[str, Group], ledger: Ledger, changing: Order, admins: Collection[str], newcomers: Quota | None) -> None:
        self.groups, self.ledger, self.changing, self.admins, self.newcomers = groups, ledger, changing, admins, newcomers
        self.pb, self.rates = load("mrpc").pb, Rates()

    def home_for(self, collection: str, tenant: str) -> str:
        """Where a new tenant's points will lie: by rendezvous, so that shards get equal shares and the same tenant the same shard."""
        return max(self.groups, key=lambda shard: blake2b(f"{shard}\0{collection}\0{tenant}".encode(), digest_size=8).digest())

    def everywhere(self, method: str, request: Any, *, done: str = "") -> list[Any]:
        """A change of all shards; their replies. done: the status of a shard that has it from an attempt before."""
        replies = []
        for group in self.groups.values():
            try:
                replies.append(group.change(method, request, current()))
            except RpcError as error:
                if not done or code_of(error) != done:
                    raise
        return replies

    def make(self, collection: str, name: str, is_role: bool, quota: Quota) -> None:
        """A tenant or role of all shards. AlreadyExists; an attempt that failed half-way is gone on with. For who has the turn to change."""
        if not is_mesh_name(name):
            raise Invalid(f"{name[:70]!r} is no name of a tenant on the mesh: up to {MESH_NAME_MAX} of a-z 0-9 . _ -, no sign at the ends")
        party = self.ledger.party(collection, name)
        if party and (party.made or party.is_role != is_role):
            raise AlreadyExists(f"there is a tenant or role {name!r} already")
        if not party:
            self.ledger.add(collection, name, is_role, self.home_for(collection, name), quota)
        try:
            self._make(collection, name, is_role, quota)
        except RpcError as error:
            if not party and code_of(error) not in UNKNOWN:  # the first shard has refused it, and all would
                self.ledger.drop(collection, name)
            raise
        self.ledger.set_made(collection, name)

    def _make(self, collection: str, name: str, is_role: bool, quota: Quota) -> None:
        if is_role:
            self.everywhere("Tenants.CreateRole", self.pb.RoleRequest(collection=collection, role=name), done="ALREADY_EXISTS")
        else:
            limits = self.pb.Quota(**without_rates(quota))
            self.everywhere("Tenants.Create", self.pb.TenantRequest(collection=collection, tenant=name, quota=limits), done="ALREADY_EXISTS")


class Servicer:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._pb, self._ledger = cluster, cluster.pb, cluster.ledger

    def _open(self, tenant: str, name: str, calls: int = 0) -> Party:
        """The tenant of a collection. calls: counted against its rate."""
        party = self._ledger.party(name, tenant)
        if party is None or party.is_role or not party.made:
            raise NotFound(f"there is no collection {name!r} with a tenant {tenant!r}")
        if calls:
            self._cluster.rates.admit(name, tenant, party.quota, calls)
        return party

    def _home(self, party: Party) -> Group:
        return self._cluster.groups[party.home]

    def _steady(self, ask: Callable[[], T]) -> T:
        """What it finds. Again when a tenant moved meanwhile: points may have been deleted where they were looked for."""
        while True:
            moves = self._ledger.moves
            found = ask()
            if moves == self._ledger.moves:
                return found

    def _ask(self, shards: list[str], method: str, request: Any, tenant: str) -> list[Any]:
        """Replies of shards, asked at once."""
        call = current()
        reads: list[Read] = []
        try:
            for shard in shards:
                reads.append(self._cluster.groups[shard].begin_read(method, request, tenant, call))
            return [each.result() for each in reads]
        finally:
            for each in reads:
                each.abandon()

    def _seen(self, tenant: str, method: str, request: Any, calls: int = 1) -> list[Any]:
        """Replies of all shards where the tenant may find something."""
        self._open(tenant, request.collection, calls)
        return self._steady(lambda: self._ask(self._ledger.shards(request.collection, tenant), method, request, tenant))

    def _only_admins(self, tenant: str) -> None:
        only_admins(self._cluster.admins, tenant)


class Points(Servicer):
    METHODS = ("Upsert", "Delete", "SetPayload", "DeletePayload", "Grant", "Revoke", "Search", "Fuse", "Get", "Scroll", "Count", "Facet",
               "SearchGroups", "CreateIndex", "DropIndex", "ListIndexes")

    def _own(self, tenant: str, method: str, request: Any, calls: int = 1) -> Any:
        """A write of the tenant's own points; of another's, where the shard refuses it."""
        party, points = self._open(tenant, request.collection, calls), getattr(request, "points", None)
        owner = (self._ledger.party(request.collection, points.owner) if points is not None and points.owner else None) or party
        group, call = self._home(owner), current()
        with group.order.of((request.collection, owner.name), call.remaining_s()):
            home = self._home(owner)
            if home is group:
                return group.apply(f"Points.{method}", request, tenant, (request.collection, owner.name))
        return self._own(tenant, method, request, 0)  # it moved meanwhile

    def Upsert(self, tenant: str, request: Any) -> Any:
        cluster, name = self._cluster, request.collection
        if cluster.newcomers is not None and self._ledger.collection(name) and not self._ledger.party(name, tenant):
            with cluster.changing.alone(current().remaining_s()):
                if not self._ledger.party(name, tenant):
                    cluster.make(name, tenant, False, cluster.newcomers)
        return self._own(tenant, "Upsert", request, max(1, len(request.ids) + len(request.uuids)))

    def Delete(self, tenant: str, request: Any) -> Any:
        return self._own(tenant, "Delete", request)

    def SetPayload(self, tenant: str, request: Any) -> Any:
        return self._own(tenant, "SetPayload", request)

    def DeletePayload(self, tenant: str, request: Any) -> Any:
        return self._own(tenant, "DeletePayload", request)

    def Grant(self, tenant: str, request: Any) -> Any:
        self._open(tenant, request.collection)
        to = self._ledger.party(request.collection, request.to)
        if to is not None and to.made and request.to != tenant:  # else the shard says what is wrong
            self._ledger.note_grant(request.collection, tenant, request.to)
        return self._own(tenant, "Grant", request)

    def Revoke(self, tenant: str, request: Any) -> Any:
        return self._own(tenant, "Revoke", request)

    def Search(self, tenant: str, request: Any) -> Any:
        replies = self._seen(tenant, "Points.Search", request, request.queries or 1)
        if len(replies) == 1:
            return replies[0]
        by_distance = not request.strategy and not request.HasField("sparse") and self._ledger.metric(request.collection) == EUCLID
        return merge.hits(self._pb, replies, request.k, tenant, smaller_is_nearer=by_distance)

    def Fuse(self, tenant: str, request: Any) -> Any:
        return self._of_one_shard(tenant, "Points.Fuse", request, request.collection, request.queries or 1)

    def SearchGroups(self, tenant: str, request: Any) -> Any:
        return self._of_one_shard(tenant, "Points.SearchGroups", request, request.search.collection, 1)

    def _of_one_shard(self, tenant: str, method: str, request: Any, collection: str, calls: int) -> Any:
        """Unsupported for a tenant that sees points of several."""
        self._open(tenant, collection, calls)

        def ask() -> Any:
            shards = self._ledger.shards(collection, tenant)
            if len(shards) > 1:
                raise Unsupported(f"{method} needs all that {tenant!r} sees on one shard, and it may be on {', '.join(shards)}: an administrator "
                                  "can move those that grant to it")
            return self._ask(shards, method, request, tenant)[0]

        return self._steady(ask)

    def Facet(self, tenant: str, request: Any) -> Any:
        """Exact where no shard has more than PAGE_MAX values: each is asked for as many, so that none is missed that is frequent together."""
        asked = self._pb.FacetRequest()
        asked.CopyFrom(request)
        asked.limit = PAGE_MAX if 1 <= request.limit <= PAGE_MAX else request.limit
        return merge.facets(self._pb, self._seen(tenant, "Points.Facet", asked), request.limit)

    def CreateIndex(self, tenant: str, request: Any) -> Any:
        return self._own(tenant, "CreateIndex", request)

    def DropIndex(self, tenant: str, request: Any) -> Any:
        return self._own(tenant, "DropIndex", request)

    def ListIndexes(self, tenant: str, request: Any) -> Any:
        return self._ask([self._open(tenant, request.collection, 1).home], "Points.ListIndexes", request, tenant)[0]

    def Get(self, tenant: str, request: Any) -> Any:
        party = self._open(tenant, request.collection, 1)
        owner = self._ledger.party(request.collection, request.points.owner) if request.points.owner else None
        return self._steady(lambda: self._ask([(owner or party).home], "Points.Get", request, tenant)[0])

    def Count(self, tenant: str, request: Any) -> Any:
        return merge.summed(self._pb.CountReply, self._seen(tenant, "Points.Count", request), ("count",))

    def Scroll(self, tenant: str, request: Any) -> Any:
        """Shard after shard. A cursor says on which one, on which replica, and where there."""
        self._open(tenant, request.collection, 1)
        return self._steady(lambda: self._page(tenant, request))

    def _page(self, tenant: str, request: Any) -> Any:
        shards = self._ledger.shards(request.collection, tenant)
        if request.HasField("order_by"):
            replies = self._ask(shards, "Points.Scroll", request, tenant)
            return merge.ordered(self._pb, replies, request.limit, tenant, descending=request.order_by.descending)
        shard, app, inner = _opened(request.cursor, shards)
        rows: list[merge.Row] = []
        asked = self._pb.ScrollRequest()
        asked.CopyFrom(request)
        while True:
            asked.cursor, asked.limit = inner, request.limit - len(rows)
            read = self._cluster.groups[shard].begin_read("Points.Scroll", asked, tenant, current(), app)
            page = read.result()
            records = page.points
            rows += [merge.Row(records, at) for at in range(len(records.ids))]
            if page.next_cursor:
                following = f"{shard}/{read.app}/{page.next_cursor}"
            else:
                rest = shards[shards.index(shard) + 1:]
                following = f"{rest[0]}//" if rest else ""
            if not following or len(rows) >= request.limit:
                return self._pb.ScrollReply(points=merge.gather(self._pb, rows, tenant), next_cursor=following)
            shard, app, inner = following.split("/")


def _opened(cursor: str, shards: list[str]) -> tuple[str, str, str]:
    """(shard, app, cursor there). Invalid for what no scroll gave."""
    if not cursor:
        return shards[0], "", ""
    shard, _, rest = cursor.partition("/")
    app, separator, inner = rest.partition("/")
    if shard not in shards or not separator:
        raise Invalid("the cursor is not one that scroll gave to this tenant")
    return shard, app, inner


class Collections(Servicer):
    METHODS = ("Create", "Drop", "List", "Describe")

    def Create(self, tenant: str, request: Any) -> Any:
        """The administrator who makes a collection becomes its first tenant, where the mesh lets the router act for it."""
        self._only_admins(tenant)
        with self._cluster.changing.alone(current().remaining_s()):
            self._create(request)
            if is_mesh_name(tenant):
                self._cluster.make(request.collection, tenant, False, Quota())
        return self._pb.Empty()

    def Drop(self, tenant: str, request: Any) -> Any:
        self._only_admins(tenant)
        with self._cluster.changing.alone(current().remaining_s()):
            known = self._ledger.collection(request.collection) is not None
            self._cluster.everywhere("Collections.Drop", request, done="NOT_FOUND" if known else "")
            self._ledger.drop_collection(request.collection)
        return self._pb.Empty()

    def _create(self, request: Any) -> None:
        made = self._ledger.collection(request.collection)
        if made:
            raise AlreadyExists(f"there is a collection {request.collection!r} already")
        self._ledger.put_collection(request.collection, made=False, metric=request.metric)
        try:
            self._cluster.everywhere("Collections.Create", request, done="" if made is None else "ALREADY_EXISTS")
        except RpcError as error:
            if made is None and code_of(error) not in UNKNOWN:
                self._ledger.drop_collection(request.collection)
            raise
        self._ledger.put_collection(request.collection, made=True, metric=request.metric)

    def List(self, tenant: str, request: Any) -> Any:
        some = next(iter(self._cluster.groups))
        found = self._ask([some], "Collections.List", request, "")[0].collections
        everything = tenant in self._cluster.admins
        return self._pb.CollectionList(collections=[each for each in found if everything or self._ledger.party(each.collection, tenant)])

    def Describe(self, tenant: str, request: Any) -> Any:
        return self._ask([self._open(tenant, request.collection).home], "Collections.Describe", request, tenant)[0]
