"""Interceptors of asyncio programs, by gRPC's interfaces."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from .._errors import CallEnd, Metadatum
from .._interceptors import CallDetails as ClientCallDetails
from .._status import StatusCode
from ._call import UnaryUnaryCall
from ._errors import AioRpcError


class ClientInterceptor(abc.ABC):  # noqa: B024 (a common base, as grpc.aio has it)
    """Base of all interceptors of a channel."""


class UnaryUnaryClientInterceptor(ClientInterceptor):
    """Runs around unary calls of a channel."""

    @abc.abstractmethod
    async def intercept_unary_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[UnaryUnaryCall]],
        client_call_details: ClientCallDetails,
        request: Any,
    ) -> Any:
        """Returns the call that `await continuation(client_call_details, request)` gives, or a reply."""


class UnaryStreamClientInterceptor(ClientInterceptor):
    """Runs around unary-stream calls, once streaming is served."""


class StreamUnaryClientInterceptor(ClientInterceptor):
    """Runs around stream-unary calls, once streaming is served."""


class StreamStreamClientInterceptor(ClientInterceptor):
    """Runs around stream-stream calls, once streaming is served."""


class ServerInterceptor(abc.ABC):
    """Runs around the look-up of a call's handler."""

    @abc.abstractmethod
    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Returns the handler: what `await continuation(handler_call_details)` returns, or another."""


class InterceptedUnaryUnaryCall:
    """A call that passes interceptors. Await it for the reply; its methods are those of the call that they returned."""

    def __init__(
        self,
        interceptors: Sequence[UnaryUnaryClientInterceptor],
        start: Callable[[ClientCallDetails, Any], UnaryUnaryCall],
        details: ClientCallDetails,
        request: Any,
    ) -> None:
        async def proceed(rest: Sequence[UnaryUnaryClientInterceptor], details: ClientCallDetails, request: Any) -> Any:
            if not rest:
                return start(details, request)
            return await rest[0].intercept_unary_unary(lambda d, r: proceed(rest[1:], d, r), details, request)

        self._task = asyncio.get_running_loop().create_task(self._run(proceed(interceptors, details, request)))
        self._call: Any = None

    async def _run(self, outcome: Awaitable[Any]) -> Any:
        self._call = await outcome
        return await self._call if hasattr(self._call, "__await__") else self._call

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self._task.__await__())

    async def _end(self) -> CallEnd:
        try:
            await asyncio.shield(self._task)
        except AioRpcError as error:
            return CallEnd(error.code(), error.details(), error.initial_metadata(), error.trailing_metadata())
        except asyncio.CancelledError:
            if not self._task.cancelled():
                raise
            return CallEnd(StatusCode.CANCELLED, "cancelled by this application")
        if isinstance(self._call, UnaryUnaryCall):
            return CallEnd(StatusCode.OK, "", await self._call.initial_metadata(), await self._call.trailing_metadata())
        return CallEnd(StatusCode.OK, "")

    async def code(self) -> StatusCode:
        return (await self._end()).code

    async def details(self) -> str:
        return (await self._end()).details

    async def initial_metadata(self) -> tuple[Metadatum, ...]:
        return (await self._end()).initial

    async def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return (await self._end()).trailing

    def cancel(self) -> bool:
        return self._task.cancel()

    def cancelled(self) -> bool:
        return self._task.cancelled()

    def done(self) -> bool:
        return self._task.done()

    def time_remaining(self) -> float | None:
        return self._call.time_remaining() if isinstance(self._call, UnaryUnaryCall) else None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._task.add_done_callback(lambda _: callback(self))
