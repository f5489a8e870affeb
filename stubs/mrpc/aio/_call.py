"""Running calls of an asyncio program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from .._errors import CallEnd, CallError, Metadatum, as_metadata
from .._status import StatusCode
from .._waiting import RETRY_SECONDS, may_come, not_ready_in_time
from ._errors import AioRpcError
from ._reactor import reactor_of


class UnaryUnaryCall:
    """A unary call. Await it for the reply; it runs whether it is awaited or not. Raises AioRpcError."""

    def __init__(
        self, core: Any, loop: asyncio.AbstractEventLoop, start: Callable[[], Any], waits: bool, until: float | None
    ) -> None:
        """`start()` starts the native call and gives it. When the call `waits` for its service, it is started again, while there
        is nobody to serve it, until time.monotonic() is `until` (None: for ever)."""
        self._core, self._loop = core, loop
        self._start, self._waits, self._until = start, waits, until
        self._ended: asyncio.Future[None] = loop.create_future()
        self._pending: Any = None
        self._task: asyncio.Task[None] | None = None
        self._reply: Any = None
        self._end: CallEnd | None = None
        self._cancelled_here = False
        self._callbacks: list[Callable[[UnaryUnaryCall], None]] = []

    def begin(self) -> UnaryUnaryCall:
        """Starts the call."""
        try:
            reactor = reactor_of(self._core)
            self._pending = self._start()
            if not reactor.track(self._pending, self._finish):
                self._finish()
        except CallError as error:
            self._end_or_try_again(error)
        return self

    def _end_or_try_again(self, error: CallError) -> None:
        if not self.ended_by(error):
            self._loop.call_later(RETRY_SECONDS, self._begin_again)

    def _begin_again(self) -> None:
        if self._end is None:  # not cancelled meanwhile
            self.begin()

    def begin_later(self, starting: Coroutine[Any, Any, None]) -> UnaryUnaryCall:
        """Starts the call from a task that first does what may block elsewhere; it calls `begin` or `ended_by`."""
        self._task = self._loop.create_task(starting)
        return self

    def ended_by(self, error: CallError) -> bool:
        """Ends a call that nobody could be given with `error`, unless it waits for its service and has time left."""
        if self._waits and may_come(error):
            if self._until is None or time.monotonic() < self._until:
                return False
            error = not_ready_in_time()
        self._set_end(None, CallEnd(error.code(), error.details()))
        return True

    def _finish(self) -> None:
        """The native call is done; runs in the loop."""
        initial, trailing = self._pending.metadata()
        try:
            self._set_end(self._pending.result(), CallEnd(StatusCode.OK, "", initial, trailing))
        except CallError as error:
            if self._pending.found_no_server():
                self._end_or_try_again(error)
                return
            end = CallEnd(error.code(), error.details(), initial)
            end.trailing = error.trailing_metadata()
            self._set_end(None, end)

    def _set_end(self, reply: Any, end: CallEnd) -> None:
        if self._end is not None:
            return
        self._reply, self._end = reply, end
        if not self._ended.done():
            self._ended.set_result(None)
        for callback in self._callbacks:
            self._loop.call_soon(callback, self)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._end is None:
            yield from self._wait().__await__()
        assert self._end is not None
        if self._end.code is StatusCode.OK:
            return self._reply
        if self._cancelled_here:
            raise asyncio.CancelledError()
        raise AioRpcError(self._end)

    async def _wait(self) -> CallEnd:
        if self._end is None:
            try:
                await asyncio.shield(self._ended)
            except asyncio.CancelledError:
                self.cancel()
                raise
        assert self._end is not None
        return self._end

    async def code(self) -> StatusCode:
        """The status, once the call has ended."""
        return (await self._wait()).code

    async def details(self) -> str:
        """The status's text, once the call has ended."""
        return (await self._wait()).details

    async def debug_error_string(self) -> str:
        """For people: code and text, once the call has ended."""
        end = await self._wait()
        return "" if end.code is StatusCode.OK else f'{end.code.name}: "{end.details}"'

    async def initial_metadata(self) -> tuple[Metadatum, ...]:
        """What the server sent before its reply; waits for the call's end when nothing has come yet."""
        early = self._pending.initial_metadata() if self._pending is not None else None
        return (await self._wait()).initial if early is None else as_metadata(early)

    async def trailing_metadata(self) -> tuple[Metadatum, ...]:
        """What the server sent with its status, once the call has ended."""
        return (await self._wait()).trailing

    async def wait_for_connection(self) -> None:
        """Returns once the call has been started. Raises AioRpcError when it could not be."""
        if self._task is not None:
            await asyncio.shield(self._task)
        if self._pending is None and self._end is not None:
            raise AioRpcError(self._end)

    def cancel(self) -> bool:
        """Cancels the call on both sides. False when it has ended."""
        if self._end is not None:
            return False
        self._cancelled_here = True
        if self._task is not None:
            self._task.cancel()
        if self._pending is not None:
            self._pending.cancel()
        self._set_end(None, CallEnd(StatusCode.CANCELLED, "cancelled by this application"))
        return True

    def cancelled(self) -> bool:
        return self._end is not None and self._end.code is StatusCode.CANCELLED

    def done(self) -> bool:
        return self._end is not None

    def time_remaining(self) -> float | None:
        """Seconds to the deadline; None when there is none, or the call has not been started yet."""
        deadline_ns = self._pending.deadline_ns if self._pending is not None else 0
        return max(0.0, (deadline_ns - time.monotonic_ns()) * 1e-9) if deadline_ns else None

    def add_done_callback(self, callback: Callable[[UnaryUnaryCall], None]) -> None:
        """Runs `callback(self)` in the loop when the call has ended."""
        if self._end is not None:
            self._loop.call_soon(callback, self)
        else:
            self._callbacks.append(callback)
