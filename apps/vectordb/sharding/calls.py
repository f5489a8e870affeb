"""The call that a thread of the router serves: how long it may take, and what ends with it.

The door hands methods a tenant and a message; what they ask of shards needs the rest of the call.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_local = threading.local()


class Call:
    """context: of the server; None for the router's own doing."""

    def __init__(self, context: Any = None) -> None:
        self._context = context
        self._begun: list[Any] = []

    def remaining_s(self) -> float | None:
        """None without a deadline."""
        return None if self._context is None else self._context.time_remaining()

    def cancel_with(self, future: Any) -> None:
        """Cancels the call to a shard when this one is cancelled, or its deadline passes."""
        if self._context is None:
            return
        if not self._begun:
            self._context.add_callback(self._cancel)
        self._begun.append(future)
        if not self._context.is_active():
            self._cancel()

    def _cancel(self) -> None:
        for future in list(self._begun):
            future.cancel()


def kept(serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The handler, with its call as current() meanwhile."""

    def keep(request: Any, context: Any) -> Any:
        _local.call = Call(context)
        try:
            return serve(request, context)
        finally:
            del _local.call

    return keep


def current() -> Call:
    """Of this thread; one without a deadline outside of handlers."""
    return getattr(_local, "call", None) or Call()
