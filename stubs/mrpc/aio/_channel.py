"""Channels of asyncio programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import _native
from .._channel import parse_target
from .._credentials import CallCredentials, ChannelCredentials, call_credentials_of
from .._errors import CallEnd, CallError, Metadata
from .._interceptors import CallDetails
from .._methods import resolve_method
from .._runtime import identity
from .._status import ChannelConnectivity, Compression, StatusCode
from .._waiting import RETRY_SECONDS
from ._call import UnaryUnaryCall
from ._errors import AioRpcError
from ._interceptors import ClientInterceptor, InterceptedUnaryUnaryCall, UnaryUnaryClientInterceptor

_READY_POLL_SECONDS = 0.05


class UnaryUnaryMultiCallable:
    """A unary method of an asyncio channel."""

    def __init__(self, core: Any, native: Any, interceptors: Sequence[UnaryUnaryClientInterceptor]) -> None:
        self._core, self._native, self._interceptors = core, native, interceptors

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Compression | None = None,
    ) -> Any:
        """Starts the call; await what it returns for the reply. Raises TypeError and ValueError here, AioRpcError there."""
        if self._interceptors:
            details = CallDetails(self._native.path, timeout, metadata, credentials, wait_for_ready, compression)
            return InterceptedUnaryUnaryCall(self._interceptors, self._start_intercepted, details, request)
        return self._start(request, timeout, metadata, credentials, wait_for_ready)

    def _start_intercepted(self, details: CallDetails, request: Any) -> UnaryUnaryCall:
        return self._start(request, details.timeout, details.metadata, details.credentials, details.wait_for_ready)

    def _start(
        self,
        request: Any,
        timeout: float | None,
        metadata: Metadata | None,
        credentials: CallCredentials | None,
        wait_for_ready: bool | None,
    ) -> UnaryUnaryCall:
        end = None if timeout is None else time.monotonic() + timeout

        def start() -> Any:
            left = None if end is None else max(0.0, end - time.monotonic())
            return self._native._start(request, left, metadata, credentials)

        call = UnaryUnaryCall(self._core, asyncio.get_running_loop(), start, bool(wait_for_ready), end)
        return call.begin() if self._native._bound else call.begin_later(self._bind_and_begin(call))

    async def _bind_and_begin(self, call: UnaryUnaryCall) -> None:
        """The first call of a service: binding asks the daemon, which may take a while, so it is done outside the loop."""
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._native._bind)
            except CallError as error:
                if call.ended_by(error):
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                call.begin()
                return


class StreamingMultiCallable:
    """A streaming method. Calling it raises AioRpcError UNIMPLEMENTED: this release carries unary calls only."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AioRpcError(
            CallEnd(StatusCode.UNIMPLEMENTED, f"{self.path} is a streaming method; this release of mrpc carries unary calls only")
        )


UnaryStreamMultiCallable = StreamUnaryMultiCallable = StreamStreamMultiCallable = StreamingMultiCallable


class Channel:
    """A way to the services of the mesh, for one event loop at a time. See mrpc.Channel."""

    def __init__(
        self,
        target: str,
        options: Sequence[tuple[str, Any]] | None = None,
        credentials: ChannelCredentials | None = None,
        interceptors: Sequence[ClientInterceptor] | None = None,
    ) -> None:
        label, token = identity(options)
        self._core = _native.ChannelCore(parse_target(target), label, token)
        self._credentials = call_credentials_of(credentials)
        for interceptor in interceptors or ():
            if not isinstance(interceptor, ClientInterceptor):
                raise ValueError(
                    f"{type(interceptor).__name__} is no client interceptor: derive it from mrpc.aio.UnaryUnaryClientInterceptor"
                )
        self._interceptors = [one for one in interceptors or () if isinstance(one, UnaryUnaryClientInterceptor)]

    def unary_unary(
        self,
        method: Any,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool = False,
    ) -> UnaryUnaryMultiCallable:
        """As mrpc.Channel.unary_unary."""
        info = resolve_method(method, request_serializer, response_deserializer)
        native = self._core.unary(info.schema, info.service, info.path, info.request_class, info.reply_class, self._credentials)
        return UnaryUnaryMultiCallable(self._core, native, self._interceptors)

    def unary_stream(self, method: Any, *args: Any, **kwargs: Any) -> StreamingMultiCallable:
        """Streaming is for a later release: calling what this returns raises AioRpcError UNIMPLEMENTED."""
        return StreamingMultiCallable(getattr(method, "path", method))

    stream_unary = stream_stream = unary_stream

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        """READY when the process is attached to its daemon."""
        if self._core.closed:
            return ChannelConnectivity.SHUTDOWN
        if not try_to_connect:
            return ChannelConnectivity.IDLE
        try:
            self._core.attach()
        except CallError:
            return ChannelConnectivity.TRANSIENT_FAILURE
        return ChannelConnectivity.READY

    async def channel_ready(self) -> None:
        """Waits until the process is attached to its daemon."""
        while self.get_state(try_to_connect=True) is not ChannelConnectivity.READY:
            await asyncio.sleep(_READY_POLL_SECONDS)

    async def close(self, grace: float | None = None) -> None:
        """Ends the channel's use: calls on it raise ValueError. Calls that run go on to their end."""
        self._core.close()

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.close()


def channel(
    target: str, options: Sequence[tuple[str, Any]] | None = None, interceptors: Sequence[ClientInterceptor] | None = None
) -> Channel:
    """A channel to `target`, "mrpc:///NAME". See mrpc.channel."""
    return Channel(target, options, None, interceptors)


def insecure_channel(
    target: str,
    options: Sequence[tuple[str, Any]] | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[ClientInterceptor] | None = None,
) -> Channel:
    """As `channel`, by gRPC's name. See mrpc.insecure_channel."""
    return Channel(target, options, None, interceptors)


def secure_channel(
    target: str,
    credentials: ChannelCredentials,
    options: Sequence[tuple[str, Any]] | None = None,
    compression: Compression | None = None,
    interceptors: Sequence[ClientInterceptor] | None = None,
) -> Channel:
    """As `insecure_channel`; see mrpc.secure_channel."""
    return Channel(target, options, credentials, interceptors)
