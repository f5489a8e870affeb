"""One text for blocking and asyncio programs.

Flows and servicers are written once, as coroutines. On an asyncio channel a call is awaited; on a blocking one it has
come back before the await, so that the coroutine never suspends and run_now takes it from start to end in a plain
function. Nothing here depends on which of the two RPC systems is in use.
"""
from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from .rpc import rpc

T = TypeVar("T")
Call = Callable[[Callable, Any], Awaitable[Any]]

CALL_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


async def call_blocking(method: Callable, request: Any) -> Any:
    """Calls a stub's method on a blocking channel."""
    return method(request, timeout=CALL_TIMEOUT_S)


async def call_asyncio(method: Callable, request: Any) -> Any:
    """Calls a stub's method on an asyncio channel."""
    return await method(request, timeout=CALL_TIMEOUT_S)


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("the coroutine suspended: it was given an asyncio channel in a blocking program")


def handlers(servicer: Any, methods: list[str], *, aio: bool) -> Any:
    """The servicer as the server wants it: plain methods or coroutines, with errors mapped to status codes."""
    adapt = _asyncio_handler if aio else _blocking_handler
    for name in methods:
        setattr(servicer, name, adapt(getattr(servicer, name)))
    return servicer


def _blocking_handler(method: Callable) -> Callable:
    def handle(request: Any, context: Any) -> Any:
        try:
            return run_now(method(request))
        except Exception as error:
            context.abort(*status_of(error))
    return handle


def _asyncio_handler(method: Callable) -> Callable:
    async def handle(request: Any, context: Any) -> Any:
        try:
            return await method(request)
        except Exception as error:
            await context.abort(*status_of(error))
    return handle


def status_of(error: Exception) -> tuple[Any, str]:
    """The status code and text that tell the caller of this error."""
    if isinstance(error, rpc.RpcError):  # of a service further down: its own code says it best
        return error.code(), error.details()
    if isinstance(error, ValueError):
        return rpc.StatusCode.INVALID_ARGUMENT, str(error)
    if isinstance(error, LookupError):
        return rpc.StatusCode.NOT_FOUND, str(error)
    log.error("A request failed", exc_info=error)
    if isinstance(error, sqlite3.OperationalError):
        return rpc.StatusCode.UNAVAILABLE, f"storage: {error}"
    return rpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
