"""Calls with wait_for_ready that nobody waits for at once: made again until somebody offers the service.

The first attempt is made as any call is, and its end is heard of through the process's dispatcher. Only when it found nobody to
serve it does the call get a thread of its own, which tries again until the call is served, cancelled, or past its deadline.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from . import _native
from ._errors import CallEnd, CallError
from ._runtime import dispatcher
from ._status import StatusCode

RETRY_SECONDS = 0.02
_MAY_COME = (StatusCode.UNAVAILABLE, StatusCode.NOT_FOUND)


def may_come(error: CallError) -> bool:
    """Whether what kept a call from being started may be gone soon: no daemon, or a service that is not known yet."""
    return error.code() in _MAY_COME


def not_ready_in_time() -> CallError:
    return CallError(CallEnd(StatusCode.DEADLINE_EXCEEDED, "the service was not ready in time: no server offered it"))


class WaitingCall:
    """As _native.PendingCall, of which it makes as many as it takes."""

    def __init__(self, call: Any, request: Any, timeout: float | None, metadata: Any, credentials: Any) -> None:
        self._call, self._credentials = call, credentials
        self._request = type(request)()
        self._request.CopyFrom(request)  # the program may change its own meanwhile
        self._metadata = None if metadata is None else tuple(metadata)
        self._end = None if timeout is None else time.monotonic() + timeout
        self.deadline_ns = 0 if self._end is None else int(self._end * 1e9)
        self._lock = threading.Lock()
        self._over, self._cancelled = threading.Event(), threading.Event()
        self._subscribers: list[tuple[Any, int]] = []
        self._error: CallError | None = None  # the end of a call that was never started
        self._pending: Any = None
        if self._start():
            self._hear_of_first()
        else:
            self._keep_trying()

    def _start(self) -> bool:
        """Makes one attempt. False when it could not even be started, which may change. Raises TypeError, ValueError, CallError."""
        left = None if self._end is None else max(0.0, self._end - time.monotonic())
        try:
            pending = self._call._start(self._request, left, self._metadata, self._credentials)
        except CallError as error:
            if may_come(error):
                return False
            raise
        with self._lock:
            self._pending = pending
        if self._cancelled.is_set():
            pending.cancel()
        return True

    def _hear_of_first(self) -> None:
        runner = dispatcher()
        token = runner.register(self._first_ended)
        if not self._pending.subscribe(runner.queue, token):
            runner.forget(token)
            self._first_ended()

    def _first_ended(self) -> None:
        if self._pending.found_no_server():
            self._keep_trying()
        else:
            self._finish()

    def _keep_trying(self) -> None:
        threading.Thread(target=self._try_again, name="mrpc-wait-for-ready", daemon=True).start()

    def _try_again(self) -> None:
        try:
            while not self._cancelled.wait(RETRY_SECONDS):
                if self._end is not None and time.monotonic() >= self._end:
                    self._error = not_ready_in_time()
                    break
                if self._start() and self._pending.wait(-1.0) and not self._pending.found_no_server():
                    break
            else:
                self._error = CallError(CallEnd(StatusCode.CANCELLED, "cancelled by this application"))
        except CallError as error:
            self._error = error
        except Exception as error:
            self._error = CallError(CallEnd(StatusCode.INTERNAL, f"the call could not be made again: {error}"))
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._over.set()
        for queue, token in self._subscribers:
            queue.push(token)

    def done(self) -> bool:
        return self._over.is_set()

    def subscribe(self, queue: _native.DoneQueue, token: int) -> bool:
        with self._lock:
            if not self._over.is_set():
                self._subscribers.append((queue, token))
                return True
        return False

    def wait(self, timeout: float) -> bool:
        """As PendingCall.wait: a signal handler that raises (Ctrl-C) cancels the call."""
        try:
            return self._over.wait(None if timeout < 0 else timeout)
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        with self._lock:
            self._cancelled.set()
            pending = self._pending
        if pending is not None:
            pending.cancel()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._pending.result()

    def metadata(self) -> tuple[Any, Any]:
        return ((), ()) if self._error is not None else self._pending.metadata()

    def initial_metadata(self) -> Any:
        return None if self._pending is None else self._pending.initial_metadata()
