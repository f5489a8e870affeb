"""What is done beside the calls: by a thread, or by whoever calls housekeep()."""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

log = logging.getLogger(__name__)


class Housekeeper:
    """Runs the chores every interval_s, or soon after wake(), until close(), which waits for what is under way. A chore that fails is
    logged and tried again.

    spare: called between rounds, does a piece of work that can wait, and returns in how many seconds to go on with it.
    """

    def __init__(self, chores: Sequence[Callable[[], object]], spare: Callable[[], float], interval_s: float) -> None:
        self._chores, self._spare, self._interval_s = chores, spare, interval_s
        self._done, self._spare_s = False, 0.0
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vectordb-housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """The next round is due."""
        self._woken.set()

    def _run(self) -> None:
        while not self._done:
            self._rest()
            self._woken.clear()
            if not self._done:
                self.round()

    def _rest(self) -> None:
        until_s = monotonic() + self._interval_s
        while (left_s := until_s - monotonic()) > 0:
            if monotonic() >= self._spare_s:
                self._spare_s = monotonic() + (self._tried(self._spare) or self._interval_s)
            if self._woken.wait(max(0.0, min(left_s, self._spare_s - monotonic()))):
                return

    def round(self) -> None:
        for chore in self._chores:
            self._tried(chore)

    @staticmethod
    def _tried(chore: Callable[[], Any]) -> Any:
        try:
            return chore()
        except Exception as error:
            log.warning("%s failed and will be tried again: %r", chore.__name__, error)
            return None

    def close(self) -> None:
        self._done = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
