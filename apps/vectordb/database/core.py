"""What all operations of a collection share: admission of the acting tenant, and committing a change."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import filters
from .contents import Contents
from .errors import NotFound, QuotaExceeded
from .journal import Journal, Write
from .mending import Teacher
from .model import CollectionConfig, Ref
from .parties import Party
from .queries import Queries
from .quota import check_room
from .recall import Sampler
from .records import Change


class Core:
    """contents: what the log made so far. sampler: takes some of the live queries to judge them. teacher: hears of changes and searches."""

    def __init__(self, contents: Contents, journal: Journal, sampler: Sampler, teacher: Teacher) -> None:
        self._contents = contents
        self._journal = journal
        self._queries = Queries(contents)
        self._sampler, self._teacher = sampler, teacher
        self._dropped = False

    @property
    def number(self) -> int:
        return self._contents.number

    def retire(self) -> None:
        """It was dropped: calls that come later, or still wait for their turn to write, are NotFound."""
        self._dropped = True

    @property
    def config(self) -> CollectionConfig:
        return self._contents.config

    @property
    def name(self) -> str:
        return self._contents.config.name

    def _admit(self, tenant: str, calls: int = 1) -> Party:
        """The acting tenant. NotFound; QuotaExceeded when it calls too often."""
        self._check_there()
        party = self._contents.parties.tenant(tenant)
        self._contents.touch(party.number)
        if party.bucket is not None and (wait_s := party.bucket.take(calls)):
            self._contents.tallies.add(party.number, refused=1)
            raise QuotaExceeded(f"tenant {tenant!r} calls too often; try again in {wait_s:.3f} s", wait_s)
        return party

    def _commit(self, write: Write, change: Change) -> int:
        """Logs one change of this collection and does it; how many points or pairs it concerned."""
        return self._commit_all(write, [change])

    def _commit_all(self, write: Write, changes: Sequence[Change]) -> int:
        """The same with several, which are there together or not at all when the log is read again."""
        self._check_there()
        for change in changes:
            change.collection = self._contents.number
        write.log(changes)
        done = sum(map(self._contents.apply, changes))
        self._teacher.changed(self._contents)
        return done

    def _check_room(self, party: Party, fresh: int, growth: int) -> None:
        """QuotaExceeded when the tenant may not own so many points, and bytes of payloads and sparse vectors, more. What makes it no larger it
        may always do."""
        namespace = self._contents.namespace(party.number)
        size = namespace.size + fresh
        if fresh > 0 or growth > 0:
            held = size * self.config.vector_bytes + namespace.payload_bytes + self._contents.sparse_bytes(party.number)
            check_room(party.name, party.quota, size, held + growth)

    def _check_there(self) -> None:
        if self._dropped:
            raise NotFound(f"there is no collection {self.name!r}: it was dropped")

    @staticmethod
    def _as_filter(which: Any) -> filters.Filter | None:
        """The filter, when it is one and not a list of ids."""
        return filters.parse(which) if isinstance(which, filters.Filter | dict) else None


def describe_ref(ref: Ref) -> str:
    return f"{ref[1]!r} of {ref[0]!r}" if isinstance(ref, tuple) else repr(ref)
