"""What is done beside the calls: by a thread, or by whoever calls housekeep()."""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)


class Housekeeper:
    """Runs the chores every interval_s until close(), which waits for the last round. A chore that fails is logged and tried again."""

    def __init__(self, chores: Sequence[Callable[[], object]], interval_s: float) -> None:
        self._chores, self._interval_s = chores, interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vectordb-housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            self.round()

    def round(self) -> None:
        for chore in self._chores:
            try:
                chore()
            except Exception as error:
                log.warning("%s failed and will be tried again: %r", chore.__name__, error)

    def close(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
