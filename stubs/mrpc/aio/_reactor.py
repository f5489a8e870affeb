"""Completions in an asyncio loop: the loop watches the client's descriptors and drains it once for each wake-up.

Several loops (each in its own thread) may watch the process's one client: whichever wakes drains for all, and rings the
DoneQueue of those whose calls it found.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .. import _native

_lock = threading.Lock()
_reactors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Reactor]] = weakref.WeakKeyDictionary()
_watching: collections.Counter[int] = collections.Counter()  # loops that watch a client, by its id()


class Reactor:
    """One loop's view of one client."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = weakref.ref(loop)  # the loop holds its reactors, not they the loop
        self._tokens = itertools.count(1)
        self._waiting: dict[int, Callable[[], None]] = {}
        self._queue = _native.DoneQueue()
        self._fds: tuple[int, ...] = ()
        self._epoch = 0
        loop.add_reader(self._queue.fileno(), self._deliver)
        weakref.finalize(loop, _leave, client)
        self._watch()

    def track(self, pending: Any, on_done: Callable[[], None]) -> bool:
        """Runs `on_done` in the loop when `pending` is done. False when it is done already: then it is not run."""
        if self._client.epoch() != self._epoch:
            self._watch()
        token = next(self._tokens)
        self._waiting[token] = on_done
        if pending.subscribe(self._queue, token):
            return True
        del self._waiting[token]
        return False

    def _watch(self) -> None:
        """Watches the descriptors of the client's present attachment, instead of those of one that has gone."""
        loop = self._loop()
        assert loop is not None
        self._unwatch()
        self._epoch = self._client.epoch()
        self._fds = (self._client.wake_fd(), self._client.control_fd())
        loop.add_reader(self._fds[0], self._drain)
        loop.add_reader(self._fds[1], self._check)
        self._drain()

    def _unwatch(self) -> None:
        loop = self._loop()
        assert loop is not None
        for fd in self._fds:
            loop.remove_reader(fd)
        self._fds = ()

    def _drain(self) -> None:
        if self._client.epoch() != self._epoch:  # the daemon replaced the rings
            self._watch()
            return
        self._run(self._client.drain(self._queue))

    def _deliver(self) -> None:
        self._run(self._queue.take())

    def _check(self) -> None:
        if not self._client.check_daemon():
            self._unwatch()  # a dead daemon's socket stays readable; the next call attaches anew, and track() watches that
        self._run(self._queue.take())
        if self._client.epoch() != self._epoch:
            self._watch()

    def _run(self, tokens: list[int]) -> None:
        for token in tokens:
            callback = self._waiting.pop(token, None)
            if callback is not None:
                callback()


def reactor_of(core: Any) -> Reactor:
    """The running loop's reactor for the client that channel core `core` calls through. Raises RpcError without a daemon."""
    loop, client = asyncio.get_running_loop(), core.attach()
    with _lock:
        reactors = _reactors.setdefault(loop, {})
        reactor = reactors.get(id(client))
        if reactor is None:
            reactor = reactors[id(client)] = Reactor(client, loop)
            _watching[id(client)] += 1
        return reactor


def _leave(client: Any) -> None:
    """A loop that watched `client` is gone; after the last one, nobody needs to be woken through its descriptor."""
    with _lock:
        _watching[id(client)] -= 1
        if _watching[id(client)] == 0:
            client.disarm()
