"""A call that was started with `.future()`: a Call and a Future of its reply."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from . import _native
from ._errors import Call, CallEnd, CallError, Future, FutureCancelledError, FutureTimeoutError, Metadatum, as_metadata
from ._runtime import dispatcher
from ._status import StatusCode
from ._waiting import WaitingCall


class RpcFuture(Call, Future):
    """A running call. Any thread may use it; nothing but the methods that say so waits."""

    def __init__(self, pending: _native.PendingCall | WaitingCall) -> None:
        self._pending = pending
        self._cancelled = False
        self._reply: Any = None
        self._error: CallError | None = None
        self._end: CallEnd | None = None

    def result(self, timeout: float | None = None) -> Any:
        """The reply. Raises RpcError, FutureTimeoutError after `timeout` seconds (the call goes on), FutureCancelledError."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._reply

    def exception(self, timeout: float | None = None) -> CallError | None:
        """The RpcError, None when the call succeeded. Raises FutureTimeoutError and FutureCancelledError."""
        self._wait(timeout)
        if self._cancelled:
            raise FutureCancelledError()
        return self._error

    def traceback(self, timeout: float | None = None) -> Any:
        error = self.exception(timeout)
        return None if error is None else error.__traceback__

    def _wait(self, timeout: float | None) -> CallEnd:
        """Waits for the end, and reads it once."""
        if self._end is None:
            if not self._pending.wait(-1.0 if timeout is None else max(timeout, 0.0)):
                raise FutureTimeoutError()
            self._read_end()
        assert self._end is not None
        return self._end

    def _read_end(self) -> None:
        initial, trailing = self._pending.metadata()
        try:
            self._reply = self._pending.result()
            self._end = CallEnd(StatusCode.OK, "", initial, trailing)
        except CallError as error:
            self._error = error
            self._end = CallEnd(error.code(), error.details(), initial, error.trailing_metadata())

    def code(self) -> StatusCode:
        return self._wait(None).code

    def details(self) -> str:
        return self._wait(None).details

    def debug_error_string(self) -> str:
        end = self._wait(None)
        return "" if end.code is StatusCode.OK else f'{end.code.name}: "{end.details}"'

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        early = self._pending.initial_metadata()
        return self._wait(None).initial if early is None else as_metadata(early)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self._wait(None).trailing

    def cancel(self) -> bool:
        if self._pending.done():
            return False
        self._cancelled = True
        self._pending.cancel()
        return True

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._pending.done()

    def running(self) -> bool:
        return not self._pending.done()

    def is_active(self) -> bool:
        return not self._pending.done()

    def time_remaining(self) -> float | None:
        deadline_ns = self._pending.deadline_ns
        return max(0.0, (deadline_ns - time.monotonic_ns()) * 1e-9) if deadline_ns else None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return self._subscribe(callback)

    def add_done_callback(self, fn: Callable[[RpcFuture], None]) -> None:
        if not self._subscribe(lambda: fn(self)):
            fn(self)

    def _subscribe(self, callback: Callable[[], None]) -> bool:
        if self._pending.done():
            return False
        runner = dispatcher()
        token = runner.register(callback)
        if self._pending.subscribe(runner.queue, token):
            return True
        runner.forget(token)
        return False
