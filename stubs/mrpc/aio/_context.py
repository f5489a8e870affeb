"""What an async handler is given beside its request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from .._context import AbortError as SyncAbortError
from .._context import ContextBase
from .._errors import Metadata, Status
from .._status import StatusCode
from ._errors import AbortError


class ServicerContext(ContextBase):
    """The call that an async handler serves, by grpc.aio's names. Belongs to the server's loop."""

    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with this status, by raising an exception that the handler must let pass."""
        self._set_abort(code, details, trailing_metadata)
        raise AbortError(f"{code.name}: {details}")

    async def abort_with_status(self, status: Status) -> NoReturn:
        """As `abort`, with trailing metadata and details: takes what grpc_status.rpc_status.to_status makes."""
        self._set_abort(status.code, status.details, status.trailing_metadata or ())
        raise AbortError(f"{status.code.name}: {status.details}")

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Sends metadata at once, before the reply. Raises ValueError, TypeError, RpcError."""
        self._send_initial_metadata(initial_metadata)

    def cancelled(self) -> bool:
        """True when the caller gave the call up, or its deadline has passed."""
        return self._cancelled()

    def done(self) -> bool:
        """True once the call has ended."""
        return self._ended or self._cancelled()

    def add_done_callback(self, callback: Callable[[ServicerContext], Any]) -> None:
        """Runs `callback(self)` in the loop when the call has ended."""
        if self._on_end is None:
            self._on_end = []
        self._on_end.append(lambda: callback(self))


class SyncContext:
    """The same call for a sync handler of an async server, which runs in a thread: its methods block, or raise, as mrpc's do."""

    def __init__(self, context: ServicerContext, loop: asyncio.AbstractEventLoop) -> None:
        self._context, self._loop = context, loop

    def abort(self, code: StatusCode, details: str) -> NoReturn:
        self._context._set_abort(code, details, ())
        raise SyncAbortError(f"{code.name}: {details}")

    def abort_with_status(self, status: Status) -> NoReturn:
        self._context._set_abort(status.code, status.details, status.trailing_metadata or ())
        raise SyncAbortError(f"{status.code.name}: {status.details}")

    def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        self._context._send_initial_metadata(initial_metadata)

    def is_active(self) -> bool:
        return not self._context.done()

    def cancel(self) -> None:
        self._context.set_code(StatusCode.CANCELLED)
        self._context._finish(None)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        if self._context.done():
            return False
        self._loop.call_soon_threadsafe(self._context.add_done_callback, lambda _: callback())
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
