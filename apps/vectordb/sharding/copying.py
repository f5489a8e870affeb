"""Copies between replicas, by what any administrator can do: a collection is made, a tenant exported and imported."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mrpc import RpcError

from ..transfers import PIECE_BYTES
from ..transport import load
from .errors import code_of
from .ledger import Ledger
from .rates import without_rates
from .replica import Replica

TIMEOUT_S = 60.0


def _ask(replica: Replica, method: str, request: Any) -> Any:
    return replica.begin(method, request, "", TIMEOUT_S).result()


def outline(ledger: Ledger, shard: str, source: Replica, to: Replica) -> set[tuple[str, str]]:
    """Makes collections, tenants and roles as they are; who, of those at home on the shard, is to be copied: (collection, tenant)."""
    pb, missing = load("mrpc").pb, set()
    for config in _ask(source, "Collections.List", pb.Empty()).collections:
        name = config.collection
        _ask(to, "Collections.Create", config)
        for party in ledger.parties(name):
            if party.is_role:
                _ask(to, "Tenants.CreateRole", pb.RoleRequest(collection=name, role=party.name))
            else:
                quota = pb.Quota(**without_rates(party.quota))
                _ask(to, "Tenants.Create", pb.TenantRequest(collection=name, tenant=party.name, quota=quota))
                if party.home == shard:
                    missing.add((name, party.name))
        for role, tenant in ledger.members(name):
            _ask(to, "Tenants.AddMember", pb.RoleRequest(collection=name, role=role, tenant=tenant))
    return missing | {(name, owner) for name, owner, where in ledger.leftovers() if where == shard}


def copy(owner: tuple[str, str], source: Replica, to: Replica) -> None:
    """Brings what the tenant owns, and its indexes."""
    Import(to, *owner, export(source, *owner)).result()
    for index in indexes(source, *owner):
        to.begin("Points.CreateIndex", index, owner[1], TIMEOUT_S).result()


def indexes(replica: Replica, collection: str, tenant: str) -> list[Any]:
    """An IndexRequest for each payload index of the tenant."""
    pb = load("mrpc").pb
    found = replica.begin("Points.ListIndexes", pb.CollectionName(collection=collection), tenant, TIMEOUT_S).result()
    return [pb.IndexRequest(collection=collection, key=each.key, schema=each.schema) for each in found.indexes]


def export(replica: Replica, collection: str, tenant: str) -> Iterator[bytes]:
    """A tenant's export, in pieces."""
    pb, cursor = load("mrpc").pb, ""
    with replica.transfers:
        while True:
            reply = _ask(replica, "Tenants.Export", pb.ExportRequest(collection=collection, tenant=tenant, cursor=cursor))
            yield bytes(reply.piece)
            if not (cursor := reply.next_cursor):
                return


def save(group: Any, collection: str, tenant: str, file: IO[bytes]) -> None:
    """Writes a tenant's export to a file, from whichever replica of a Group can give all of it. RpcError; Away."""
    tried: list[Replica] = []
    while True:
        tried.append(group.pick(tried))
        try:
            file.writelines(export(tried[-1], collection, tenant))
        except RpcError as error:
            if code_of(error) != "UNAVAILABLE":
                raise
            file.seek(0)
            file.truncate()
        else:
            return file.flush()


def pieces(path: Path) -> Iterator[bytes]:
    """Of a file with an export."""
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


class Import:
    """An import into a tenant that is there, done when result() is asked for."""

    def __init__(self, replica: Replica, collection: str, tenant: str, pieces: Iterable[bytes], conflicts: str = "REPLACE") -> None:
        self._replica, self._names, self._pieces, self._conflicts = replica, (collection, tenant), pieces, conflicts

    def result(self) -> int:
        """How many points were written. RpcError."""
        pb, cursor, (collection, tenant) = load("mrpc").pb, "", self._names
        with self._replica.transfers:
            for piece in self._pieces:
                request = pb.ImportRequest(collection=collection, tenant=tenant, cursor=cursor, piece=piece)
                cursor = _ask(self._replica, "Tenants.Import", request).next_cursor
            last = pb.ImportRequest(collection=collection, tenant=tenant, cursor=cursor, last=True, conflicts=self._conflicts)
            return _ask(self._replica, "Tenants.Import", last).points
