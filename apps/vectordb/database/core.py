"""What all operations of a collection share: admission of the acting tenant, and committing a change."""
from __future__ import annotations

from typing import Any

from . import filters
from .contents import Contents
from .errors import Closed, QuotaExceeded
from .journal import Journal, Write
from .model import CollectionConfig, Ref
from .parties import Party
from .queries import Queries
from .recall import Sampler
from .records import Change


class Core:
    """contents: what the log made so far. sampler: takes some of the live queries to judge them."""

    def __init__(self, contents: Contents, journal: Journal, sampler: Sampler) -> None:
        self._contents = contents
        self._journal = journal
        self._queries = Queries(contents)
        self._sampler = sampler
        self._dropped = False

    @property
    def number(self) -> int:
        return self._contents.number

    def retire(self) -> None:
        """It was dropped: every later call is Closed."""
        self._dropped = True

    @property
    def config(self) -> CollectionConfig:
        return self._contents.config

    @property
    def name(self) -> str:
        return self._contents.config.name

    def _admit(self, tenant: str, calls: int = 1) -> Party:
        """The acting tenant. NotFound; QuotaExceeded when it calls too often."""
        if self._dropped:
            raise Closed(f"collection {self.name!r} was dropped")
        party = self._contents.parties.tenant(tenant)
        self._contents.touch(party.number)
        if party.bucket is not None and (wait_s := party.bucket.take(calls)):
            self._contents.tallies.add(party.number, refused=1)
            raise QuotaExceeded(f"tenant {tenant!r} calls too often; try again in {wait_s:.3f} s", wait_s)
        return party

    def _commit(self, write: Write, change: Change) -> int:
        """Logs one change of this collection and does it; how many points or pairs it concerned."""
        change.collection = self._contents.number
        write.log([change])
        return self._contents.apply(change)

    @staticmethod
    def _as_filter(which: Any) -> filters.Filter | None:
        """The filter, when it is one and not a list of ids."""
        return filters.parse(which) if isinstance(which, filters.Filter | dict) else None


def describe_ref(ref: Ref) -> str:
    return f"{ref[1]!r} of {ref[0]!r}" if isinstance(ref, tuple) else repr(ref)
