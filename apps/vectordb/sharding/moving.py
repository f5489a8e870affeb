"""Moves of a tenant's points to another shard, and what administrators ask of a router."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..database.errors import Invalid, NotFound
from . import copying, wire
from .calls import Call, current
from .group import Group
from .router import Cluster, Servicer


class Router(Servicer):
    """The service vectordb.shard.Router."""

    METHODS = ("Status", "Move")

    def Status(self, tenant: str, request: Any) -> Any:
        self._only_admins(tenant)
        return wire.load().pb.ClusterStatus(shards=[self._status(group) for group in self._cluster.groups.values()])

    def Move(self, tenant: str, request: Any) -> Any:
        self._only_admins(tenant)
        if request.shard not in self._cluster.groups:
            raise Invalid(f"there is no shard {request.shard!r}: there are {', '.join(self._cluster.groups)}")
        names = [request.collection] if request.collection else self._ledger.collections()
        owned = [name for name in names if (party := self._ledger.party(name, request.tenant)) and not party.is_role]
        if not owned:
            raise NotFound(f"there is no tenant {request.tenant!r}")
        with self._cluster.changing.alone(current().remaining_s()):
            return wire.load().pb.MoveReply(points=sum(move(self._cluster, name, request.tenant, request.shard) for name in owned))

    def _status(self, group: Group) -> Any:
        pb = wire.load().pb
        replicas = [pb.ReplicaStatus(app=each.app, state=group.state(each), open_calls=each.open, reads=each.reads) for each in group.replicas]
        at_home = sum(party.home == group.name and not party.is_role for name in self._ledger.collections() for party in self._ledger.parties(name))
        return pb.ShardStatus(shard=group.name, replicas=replicas, tenants=at_home)


def move(cluster: Cluster, collection: str, tenant: str, shard: str) -> int:
    """Makes the shard the tenant's home; how many points came along. For who has the turn to change.

    The points are brought there, then it is the home, then they are deleted where they were; the tenant's writes wait for the first two.
    A move that fails leaves points on one of the two shards that are noted as leftovers, and are deleted when that can be done.
    """
    ledger, owner, party = cluster.ledger, (collection, tenant), cluster.ledger.party(collection, tenant)
    if party is None or party.home == shard:
        return 0
    source, target = cluster.groups[party.home], cluster.groups[shard]
    clear(cluster, owner)
    ledger.note_leftover(*owner, shard)
    with tempfile.NamedTemporaryFile(prefix="vectordb-") as file, source.order.of(owner), target.order.of(owner):
        copying.save(source, *owner, file)
        count = target.do(lambda replica: copying.Import(replica, *owner, copying.pieces(Path(file.name))), owner)
        for index in copying.indexes(source.pick(()), *owner):
            target.apply("Points.CreateIndex", index, tenant, owner)
        ledger.set_home(*owner, shard)
    clear(cluster, owner)
    return count


def clear(cluster: Cluster, owner: tuple[str, str] | None = None) -> None:
    """Deletes leftovers of moves: an owner's, or all. RpcError; Away."""
    for collection, tenant, shard in cluster.ledger.leftovers():
        if owner in (None, (collection, tenant)):
            everything = cluster.pb.Selection(filter=cluster.pb.Filter())
            request = cluster.pb.DeleteRequest(collection=collection, points=everything)
            cluster.groups[shard].write("Points.Delete", request, tenant, (collection, tenant), Call())
            cluster.ledger.forget_leftover(collection, tenant, shard)
