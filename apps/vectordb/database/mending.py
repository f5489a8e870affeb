"""Keeps indexes good: teaches them how far searches must go, and mends what drift made bad. Neither changes an answer's meaning, and
nothing of it is logged; a snapshot has what was done until then.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from .contents import Contents

PIECE_VECTORS = 50_000
"""Looked at by a search that teaches: about a millisecond or two."""
MEND_VECTORS = 1000
"""Looked at or moved in a piece of mending: some milliseconds, in which writers wait."""
QUIET_S = 1.0
"""Nobody calls when nobody has for so long."""
SHARES = 0.002, 0.3
"""Of one processor's time, for mending: while somebody calls, and while nobody does."""


class Teacher:
    """Sees to it that an index which has grown is taught soon. wake: tells housekeeping to; None: nobody keeps house, and searches do it, each
    a piece."""

    def __init__(self, wake: Callable[[], None] | None) -> None:
        self._wake = wake

    def changed(self, contents: Contents) -> None:
        if self._wake is not None and not contents.index.taught:
            self._wake()

    def searched(self, contents: Contents) -> None:
        if self._wake is None and not contents.index.taught:
            contents.teach(PIECE_VECTORS)


class Mender:
    """Mends in small pieces: for much of the time while nobody calls, hardly ever while somebody does. contents: of all collections. clock:
    seconds. For one thread at a time."""

    def __init__(self, contents: Callable[[], Iterable[Contents]], clock: Callable[[], float] = monotonic) -> None:
        self._contents, self._clock = contents, clock
        self._calls, self._called_s, self._at_s, self._owed_s = 0, clock(), clock(), 0.0

    def mend(self) -> bool:
        """Mends a piece of the first index that needs it; whether one did."""
        return any(contents.mend(MEND_VECTORS) for contents in self._contents())

    def piece(self) -> float:
        """Mends a piece, unless it is too soon for one; in how many seconds to call again."""
        now = self._clock()
        share = SHARES[self._quiet(now)]
        self._owed_s = max(0.0, self._owed_s - max(0.0, now - self._at_s) * share)
        self._at_s = now
        if self._owed_s < 1e-6:
            if not self.mend():
                return QUIET_S
            self._owed_s = self._clock() - now
        return min(self._owed_s / share, QUIET_S)

    def _quiet(self, now: float) -> bool:
        calls = sum(contents.tallies.calls for contents in self._contents())
        if calls != self._calls or now < self._called_s:
            self._calls, self._called_s = calls, now
        return now - self._called_s >= QUIET_S
