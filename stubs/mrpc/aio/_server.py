"""Servers of asyncio programs: the loop watches the server's descriptor, and each call is a task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import itertools
from collections.abc import Sequence
from typing import Any

from .. import _native
from .._handlers import GenericRpcHandler, HandlerCallDetails, RpcMethodHandler
from .._server import ServerBase
from .._status import StatusCode
from ._context import ServicerContext, SyncContext
from ._errors import AbortError
from ._interceptors import ServerInterceptor

_DRAIN_SECONDS = 0.01  # between two looks at calls that still run while the server stops
_FOREVER_SECONDS = 1e9


class Server(ServerBase):
    """A server of async handlers; sync ones run in `migration_thread_pool`. Make it with `mrpc.aio.server`."""

    def __init__(self, migration_thread_pool: concurrent.futures.Executor | None, *common: Any) -> None:
        super().__init__(*common)
        self._threads = migration_thread_pool
        self._tokens = itertools.count(1)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._cancelled = _native.DoneQueue()
        self._wake_fd: int | None = None
        self._epoch = 0
        self._stopped: asyncio.Event | None = None

    async def start(self) -> None:
        """As mrpc.Server.start. Raises RpcError, ValueError."""
        if self._core is not None:
            raise ValueError("the server has been started already")
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._attach(ServicerContext, lambda path, handler: handler)
        self._loop.add_reader(self._cancelled.fileno(), self._cancel_tasks)
        self._watch()

    async def stop(self, grace: float | None) -> None:
        """Takes no more calls, gives those that run `grace` seconds, and returns when all have ended."""
        if self._core is None or self._stopped is None or self._stopped.is_set():
            return
        stopping = self._loop.run_in_executor(None, self._core.stop, min(grace or 0.0, _FOREVER_SECONDS))
        while not stopping.done():
            await asyncio.wait([stopping], timeout=_DRAIN_SECONDS)
            self._take_calls()
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        assert self._wake_fd is not None
        for fd in (self._wake_fd, self._cancelled.fileno()):
            self._loop.remove_reader(fd)
        self._core.disarm()
        self._stopped.set()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped. False when `timeout` seconds ran out first."""
        assert self._stopped is not None, "start the server first"
        try:
            await asyncio.wait_for(self._stopped.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def _watch(self) -> None:
        if self._wake_fd is not None:
            self._loop.remove_reader(self._wake_fd)
        self._epoch = self._core.epoch()
        self._wake_fd = self._core.wake_fd()
        self._loop.add_reader(self._wake_fd, self._take_calls)
        self._take_calls()

    def _take_calls(self) -> None:
        if self._core.epoch() != self._epoch:  # the server has attached anew, or the daemon replaced the rings
            self._watch()
            return
        for context in self._core.drain():
            token = next(self._tokens)
            self._running[token] = self._loop.create_task(self._serve(context, token))
            context._notify_cancel(self._cancelled, token)

    def _cancel_tasks(self) -> None:
        """Callers gave calls up: their handlers get CancelledError."""
        for token in self._cancelled.take():
            task = self._running.get(token)
            if task is not None:
                task.cancel()

    async def _serve(self, context: ServicerContext, token: int) -> None:
        reply = None
        try:
            reply = await self._reply(context)
        except (AbortError, Exception) as error:
            context._failed(error)
        except asyncio.CancelledError:
            context.set_code(StatusCode.CANCELLED)
        finally:
            del self._running[token]
            context._finish(reply)

    async def _reply(self, context: ServicerContext) -> Any:
        handler = await self._handler(context)
        if handler is None or handler.unary_unary is None:
            await context.abort(StatusCode.UNIMPLEMENTED, f"the server does not implement {context._path} as a unary method")
        behavior, request = handler.unary_unary, context._request()
        if inspect.iscoroutinefunction(behavior):
            return await behavior(request, context)
        reply = await self._loop.run_in_executor(self._threads, behavior, request, SyncContext(context, self._loop))
        return await reply if inspect.isawaitable(reply) else reply

    async def _handler(self, context: ServicerContext) -> RpcMethodHandler | None:
        own: RpcMethodHandler | None = context._handler
        if not self._interceptors:
            return own

        async def find(rest: Sequence[ServerInterceptor], details: Any) -> RpcMethodHandler | None:
            if not rest:
                return own if details.method == context._path else None
            return await rest[0].intercept_service(lambda inner: find(rest[1:], inner), details)

        return await find(self._interceptors, HandlerCallDetails(context._path, context.invocation_metadata()))

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.stop(None)


def server(
    migration_thread_pool: concurrent.futures.Executor | None = None,
    handlers: Sequence[GenericRpcHandler] | None = None,
    interceptors: Sequence[ServerInterceptor] | None = None,
    options: Sequence[tuple[str, Any]] | None = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Any = None,
    *,
    name: str | None = None,
) -> Server:
    """A server of async handlers. Over `maximum_concurrent_rpcs` running calls, more are refused with RESOURCE_EXHAUSTED."""
    return Server(migration_thread_pool, handlers, interceptors, options, maximum_concurrent_rpcs, name)
