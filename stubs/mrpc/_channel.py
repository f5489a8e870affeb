"""Channels: where stubs get their multi-callables from."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import _native
from ._credentials import CallCredentials, ChannelCredentials, call_credentials_of
from ._errors import CallEnd, CallError, Future, FutureCancelledError, FutureTimeoutError, RpcError
from ._methods import resolve_method
from ._runtime import identity
from ._status import ChannelConnectivity, StatusCode

_READY_POLL_SECONDS = 0.05

UnaryUnaryMultiCallable = _native.UnaryCall


def parse_target(target: str) -> str:
    """The name that a target means, or "" when the stub's own service name is to be resolved.

    "mrpc:///NAME" and "NAME" name a service or an application of the mesh. Targets of gRPC programs with an address in them
    ("localhost:50051", "dns:///host:50051", "unix:/path") name no place on the mesh: there each service is resolved by
    its full name, wherever it is offered. Raises ValueError for an empty target.
    """
    if not target:
        raise ValueError('a channel needs a target, such as "mrpc:///package.Service"')
    if target.startswith("mrpc:"):
        name = target.removeprefix("mrpc:").removeprefix("//").strip("/")
        if not name:
            raise ValueError(f'target {target!r} names nothing: write "mrpc:///package.Service"')
        return name
    return "" if ":" in target or "/" in target else target


class StreamingMultiCallable:
    """A streaming method. Calling it raises RpcError UNIMPLEMENTED: this release carries unary calls only."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise CallError(
            CallEnd(StatusCode.UNIMPLEMENTED, f"{self.path} is a streaming method; this release of mrpc carries unary calls only")
        )

    with_call = future = __call__


UnaryStreamMultiCallable = StreamUnaryMultiCallable = StreamStreamMultiCallable = StreamingMultiCallable


class Channel:
    """A way to the services of the mesh. Cheap to make: all channels of a process share its one attachment to the daemon.

    Any thread may use it. It attaches at its first call. A channel opened before fork() is the parent's and fails in the child.
    """

    def __init__(
        self, target: str, options: Sequence[tuple[str, Any]] | None = None, credentials: ChannelCredentials | None = None
    ) -> None:
        label, token = identity(options)
        self._core = _native.ChannelCore(parse_target(target), label, token)
        self._credentials: CallCredentials | None = call_credentials_of(credentials)

    def unary_unary(
        self,
        method: Any,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool = False,
    ) -> UnaryUnaryMultiCallable:
        """The multi-callable of `method`: a MethodInfo of generated code, or a path with the classes' (de)serialisers.

        Raises ValueError when the generated classes do not tell the method's schema.
        """
        info = resolve_method(method, request_serializer, response_deserializer)
        return self._core.unary(info.schema, info.service, info.path, info.request_class, info.reply_class, self._credentials)

    def unary_stream(self, method: Any, *args: Any, **kwargs: Any) -> StreamingMultiCallable:
        """Streaming is for a later release: calling what this returns raises RpcError UNIMPLEMENTED."""
        return StreamingMultiCallable(getattr(method, "path", method))

    stream_unary = stream_stream = unary_stream

    def subscribe(self, callback: Callable[[ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        """Tells `callback` the state: IDLE at once, and with `try_to_connect` how attaching went, from another thread."""
        callback(ChannelConnectivity.IDLE)
        if try_to_connect:
            threading.Thread(target=lambda: callback(self._connect()), name="mrpc-connect", daemon=True).start()

    def unsubscribe(self, callback: Callable[[ChannelConnectivity], None]) -> None:
        """Accepted: `subscribe` keeps no callback."""

    def close(self) -> None:
        """Ends the channel's use: calls on it raise ValueError. Calls that run go on to their end."""
        self._core.close()

    def _connect(self) -> ChannelConnectivity:
        if self._core.closed:
            return ChannelConnectivity.SHUTDOWN
        try:
            self._core.attach()
        except RpcError:
            return ChannelConnectivity.TRANSIENT_FAILURE
        return ChannelConnectivity.READY

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


def channel(target: str, options: Sequence[tuple[str, Any]] | None = None) -> Channel:
    """A channel to `target`, "mrpc:///NAME": a service's full name, or an application's name.

    `options`: pairs; known are "mrpc.label" (shown to operators) and "mrpc.token" (of `mrpc app register`). Others are ignored.
    Raises ValueError for a target that names nothing; no daemon is needed before the first call.
    """
    return Channel(target, options)


def insecure_channel(target: str, options: Sequence[tuple[str, Any]] | None = None, compression: Any = None) -> Channel:
    """As `channel`, by gRPC's name. Targets with an address ("localhost:50051") resolve each service by its full name."""
    return Channel(target, options)


def secure_channel(
    target: str, credentials: ChannelCredentials, options: Sequence[tuple[str, Any]] | None = None, compression: Any = None
) -> Channel:
    """As `insecure_channel`: the daemon proves who the application is and secures the wire. Call credentials among
    `credentials` do add their metadata to each call."""
    return Channel(target, options, credentials)


class _ReadyFuture(Future):
    """Done once the channel has attached to the daemon. Whoever waits for the result does the trying."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._cancelled = self._ready = False

    def result(self, timeout: float | None = None) -> None:
        """Waits until the channel is ready. Raises FutureTimeoutError, FutureCancelledError."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.done():
            if end is not None and time.monotonic() >= end:
                raise FutureTimeoutError()
            time.sleep(_READY_POLL_SECONDS)
        if self._cancelled:
            raise FutureCancelledError()

    def exception(self, timeout: float | None = None) -> None:
        self.result(timeout)

    traceback = exception

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        def wait() -> None:
            with contextlib.suppress(FutureCancelledError):
                self.result()
            fn(self)

        threading.Thread(target=wait, name="mrpc-ready", daemon=True).start()

    def cancel(self) -> bool:
        self._cancelled = not self._ready
        return self._cancelled

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        if not self._ready and not self._cancelled:
            self._ready = self._channel._connect() is ChannelConnectivity.READY
        return self._ready or self._cancelled

    def running(self) -> bool:
        return not self.done()


def channel_ready_future(channel: Channel) -> Future:
    """A future that is done once `channel` has attached to its daemon."""
    return _ReadyFuture(channel)
