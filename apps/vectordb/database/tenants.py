"""Tenants and roles of a collection. For whoever administers it: no tenant acts here."""
from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from .core import Core
from .errors import Invalid
from .model import Name, Quota, TenantInfo, Usage
from .records import Change, pb

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def checked_name(name: Any) -> str:
    """The name, or Invalid."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise Invalid(f"{str(name)[:60]!r} is no name: 1 to 128 of A-Z a-z 0-9 . _ : @ / - and spaces, a letter or digit first") from None


class TenantOperations(Core):
    def create_tenant(self, name: str, quota: Quota | None = None) -> TenantInfo:
        """A new tenant, which owns and sees nothing yet. AlreadyExists, also for a role's name; Invalid for a name that is none."""
        return self._create(name, is_role=False, quota=quota or Quota())

    def create_role(self, name: str) -> TenantInfo:
        """A new role: a name to grant points to, which its members then see. Errors as create_tenant."""
        return self._create(name, is_role=True, quota=Quota())

    def _create(self, name: str, is_role: bool, quota: Quota) -> TenantInfo:
        with self._journal.writing() as write:
            self._commit(write, Change(party=self._contents.parties.new(checked_name(name), is_role, quota)))
        return self.tenant(name)

    def tenant(self, name: str) -> TenantInfo:
        """A tenant or a role. NotFound."""
        return self._contents.parties.info(self._contents.parties.any(name))

    def has_tenant(self, name: str) -> bool:
        """Whether there is such a tenant; False for a role."""
        party = self._contents.parties.find(name)
        return party is not None and not party.is_role

    def tenants(self) -> list[TenantInfo]:
        """All tenants and roles, by name."""
        return sorted(map(self._contents.parties.info, self._contents.parties))

    def set_quota(self, name: str, quota: Quota) -> TenantInfo:
        """Replaces the limits of a tenant. What it owns beyond them stays; it can only not grow. NotFound."""
        with self._journal.writing() as write:
            message = self._contents.parties.tenant(name).freeze().message()
            message.quota = quota.model_dump_json(exclude_none=True)
            self._commit(write, Change(party=message))
        return self.tenant(name)

    def drop_tenant(self, name: str) -> int:
        """Deletes a tenant or a role with all that it owns, and every grant to it; how many points that deleted. NotFound."""
        with self._journal.writing() as write:
            party = self._contents.parties.any(name)
            return self._commit(write, Change(drop_party=pb.DropParty(number=party.number)))

    def add_member(self, role: str, tenant: str) -> None:
        """The tenant sees what the role was granted and will be. NotFound."""
        self._join(role, tenant, joined=True)

    def remove_member(self, role: str, tenant: str) -> None:
        """The tenant no longer sees what it saw through the role alone. NotFound."""
        self._join(role, tenant, joined=False)

    def _join(self, role: str, tenant: str, joined: bool) -> None:
        with self._journal.writing() as write:
            parties = self._contents.parties
            membership = pb.Membership(role=parties.role(role).number, tenant=parties.tenant(tenant).number, joined=joined)
            self._commit(write, Change(membership=membership))

    def usage(self, tenant: str) -> Usage:
        """What the tenant uses. NotFound."""
        contents = self._contents
        party = contents.parties.tenant(tenant)
        namespace, tally = contents.namespace(party.number), contents.tallies.of(party.number)
        return Usage(points=namespace.size, visible=self._queries.count(party),
                     vector_bytes=namespace.size * contents.config.vector_bytes + contents.sparse_bytes(party.number),
                     payload_bytes=namespace.payload_bytes, queries=tally.queries, points_read=tally.points_read,
                     points_written=tally.points_written, points_deleted=tally.points_deleted, grants=tally.grants,
                     refused=tally.refused, search_s=tally.search_s, taught=contents.index.taught)
