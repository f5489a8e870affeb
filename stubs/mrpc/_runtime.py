"""What the whole process shares: how it names itself to the daemon, and the thread that runs callbacks."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from . import _native

_log = logging.getLogger("mrpc")


def identity(options: Any = None) -> tuple[str, str]:
    """(label, token) of this process: from `options` ("mrpc.label", "mrpc.token"), else $MRPC_LABEL and $MRPC_TOKEN.

    The label is for people only and defaults to the program's name; the token is what `mrpc app register` issued.
    """
    given = dict(options or ())
    label = (
        given.get("mrpc.label") or os.environ.get("MRPC_LABEL") or os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    )
    return str(label)[:128], str(given.get("mrpc.token") or os.environ.get("MRPC_TOKEN") or "")


class Dispatcher:
    """Runs Python callbacks when calls end, for programs that do not wait for them in an event loop.

    Its thread starts with the first callback that must wait: programs without such callbacks have no thread of ours.
    """

    def __init__(self) -> None:
        self._tokens = itertools.count(1)
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.queue: Any = None  # made with the thread

    def register(self, callback: Callable[[], None]) -> int:
        """A token; once it is pushed to `queue`, the thread runs `callback`."""
        with self._lock:
            if self._thread is None:
                self.queue = _native.DoneQueue()
                self._thread = threading.Thread(target=self._run, name="mrpc-callbacks", daemon=True)
                self._thread.start()
        token = next(self._tokens)
        self._callbacks[token] = callback
        return token

    def forget(self, token: int) -> None:
        self._callbacks.pop(token, None)

    def _run(self) -> None:
        while True:
            for token in self.queue.wait():
                callback = self._callbacks.pop(token, None)
                if callback is not None:
                    self._call(callback)

    @staticmethod
    def _call(callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            _log.exception("a callback of a call raised")


_dispatcher = Dispatcher()


def dispatcher() -> Dispatcher:
    return _dispatcher


def _start_anew_in_child() -> None:
    global _dispatcher
    _dispatcher = Dispatcher()


os.register_at_fork(after_in_child=_start_anew_in_child)
