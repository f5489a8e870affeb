"""Tenants and roles of a collection: numbers, names, quotas, membership.

A role is a name that points are granted to; a tenant sees what it owns, what it was granted, and what its roles were. Both
have a number of one series, never used twice, under which the index knows them.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .errors import AlreadyExists, Invalid, NotFound
from .model import Quota, TenantInfo
from .quota import Bucket
from .records import pb

NO_LIMITS = Quota()
INDEXES_MAX = 64  # of one tenant in a collection


class Frozen(NamedTuple):
    """A party as it was."""

    number: int
    name: str
    is_role: bool
    quota: Quota
    scope: tuple[int, ...]
    indexes: dict[str, str]

    def message(self) -> pb.Party:
        indexes = [pb.PayloadIndex(key=key, schema=schema) for key, schema in self.indexes.items()]
        return pb.Party(number=self.number, name=self.name, is_role=self.is_role, quota=self.quota.model_dump_json(exclude_none=True),
                        indexes=indexes)


class Party:
    """bucket: of a tenant whose calls are limited. scope: the numbers that it sees as, its own first. indexes: schemas of its payload
    indexes by their keys."""

    __slots__ = ("number", "name", "is_role", "quota", "bucket", "scope", "members", "indexes")

    def __init__(self, number: int, name: str, is_role: bool) -> None:
        self.number, self.name, self.is_role = number, name, is_role
        self.quota, self.bucket = NO_LIMITS, None
        self.scope: tuple[int, ...] = (number,)
        self.members: tuple[int, ...] = ()
        self.indexes: dict[str, str] = {}

    def freeze(self) -> Frozen:
        return Frozen(self.number, self.name, self.is_role, self.quota, self.scope, self.indexes)


class Parties:
    """Changed by the writer only; readers look names up in dictionaries whose values are replaced, never changed half."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_name: dict[str, Party] = {}
        self._by_number: dict[int, Party] = {}
        self.next_number = 1

    def __iter__(self) -> Iterator[Party]:
        return iter(list(self._by_number.values()))

    def tenant(self, name: str) -> Party:
        """NotFound: also for a role, which cannot act."""
        party = self._by_name.get(name)
        if party is None or party.is_role:
            raise NotFound(f"there is no tenant {name!r}")
        return party

    def role(self, name: str) -> Party:
        party = self._by_name.get(name)
        if party is None or not party.is_role:
            raise NotFound(f"there is no role {name!r}")
        return party

    def any(self, name: str) -> Party:
        if name not in self._by_name:
            raise NotFound(f"there is no tenant or role {name!r}")
        return self._by_name[name]

    def find(self, name: str) -> Party | None:
        return self._by_name.get(name)

    def name_of(self, number: int) -> str:
        """LookupError for one that was dropped meanwhile."""
        return self._by_number[number].name

    def find_name(self, number: int) -> str | None:
        party = self._by_number.get(number)
        return party.name if party else None

    def indexes_of(self, number: int) -> dict[str, str]:
        """Its payload indexes: none for one that is not there."""
        party = self._by_number.get(number)
        return party.indexes if party else {}

    def new(self, name: str, is_role: bool, quota: Quota) -> pb.Party:
        """What to log for a new one. AlreadyExists."""
        if name in self._by_name:
            raise AlreadyExists(f"there is a tenant or role {name!r} already")
        if self.next_number >= 2**32:
            raise Invalid("this collection has had 2**32 tenants and roles")
        return pb.Party(number=self.next_number, name=name, is_role=is_role, quota=quota.model_dump_json(exclude_none=True))

    def info(self, party: Party) -> TenantInfo:
        """Without roles and members that were dropped while it was looked at."""
        roles, members = (tuple(sorted(filter(None, map(self.find_name, numbers)))) for numbers in (party.scope[1:], party.members))
        return TenantInfo(party.name, party.is_role, party.quota, roles, members)

    def freeze(self) -> list[Frozen]:
        """All of them as of now."""
        return [party.freeze() for party in self._by_number.values()]

    # What was logged.
    def put(self, message: pb.Party) -> None:
        party = self._by_number.get(message.number) or Party(message.number, message.name, message.is_role)
        party.quota = Quota.model_validate_json(message.quota) if message.quota not in ("", "{}") else NO_LIMITS
        party.bucket = Bucket.of(party.quota, self._clock)
        party.indexes = {each.key: each.schema for each in message.indexes}
        self._by_number[party.number] = self._by_name[party.name] = party
        self.next_number = max(self.next_number, party.number + 1)

    def drop(self, number: int) -> None:
        party = self._by_number[number]
        for role in party.scope[1:]:
            self.join(role, number, joined=False)
        for member in party.members:
            self.join(number, member, joined=False)
        del self._by_name[party.name], self._by_number[number]

    def join(self, role: int, tenant: int, joined: bool) -> None:
        holder, member = self._by_number[role], self._by_number[tenant]
        roles, members = set(member.scope[1:]), set(holder.members)
        change = set.add if joined else set.discard
        change(roles, role)
        change(members, tenant)
        member.scope, holder.members = (tenant, *sorted(roles)), tuple(sorted(members))
