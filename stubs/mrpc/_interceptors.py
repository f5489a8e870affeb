"""Interceptors, by gRPC's interfaces: Python that runs around a call. Channels and servers without any do not pass here."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ._credentials import CallCredentials
from ._errors import CallEnd, CallError, EndedCall, Metadata, Metadatum
from ._handlers import HandlerCallDetails, RpcMethodHandler
from ._status import Compression, StatusCode


class ClientCallDetails(abc.ABC):
    """What an interceptor may read of a call, and hand on changed. Any object with these attributes will do."""

    method: str
    timeout: float | None
    metadata: Metadata | None
    credentials: CallCredentials | None
    wait_for_ready: bool | None
    compression: Compression | None


class CallDetails(NamedTuple):
    """The `ClientCallDetails` that interceptors are given; `_replace` makes a changed one."""

    method: str
    timeout: float | None = None
    metadata: Metadata | None = None
    credentials: CallCredentials | None = None
    wait_for_ready: bool | None = None
    compression: Compression | None = None


ClientCallDetails.register(CallDetails)


class UnaryUnaryClientInterceptor(abc.ABC):
    """Runs around unary calls of a channel."""

    @abc.abstractmethod
    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        """Returns the call: what `continuation(client_call_details, request)` returns, or an object with its methods.

        The call is a `Call` and a `Future`: `result()`, `code()`, `add_done_callback()`...
        """


class UnaryStreamClientInterceptor(abc.ABC):
    """Runs around unary-stream calls, once streaming is served."""

    @abc.abstractmethod
    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        """As `intercept_unary_unary`."""


class StreamUnaryClientInterceptor(abc.ABC):
    """Runs around stream-unary calls, once streaming is served."""

    @abc.abstractmethod
    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        """As `intercept_unary_unary`."""


class StreamStreamClientInterceptor(abc.ABC):
    """Runs around stream-stream calls, once streaming is served."""

    @abc.abstractmethod
    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        """As `intercept_unary_unary`."""


CLIENT_INTERCEPTORS = (
    UnaryUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    StreamStreamClientInterceptor,
)


class ServerInterceptor(abc.ABC):
    """Runs around the look-up of a call's handler."""

    @abc.abstractmethod
    def intercept_service(
        self, continuation: Callable[[HandlerCallDetails], RpcMethodHandler | None], handler_call_details: HandlerCallDetails
    ) -> RpcMethodHandler | None:
        """Returns the handler to serve the call with: what `continuation(handler_call_details)` returns, or another."""


class FinishedCall(EndedCall):
    """A call that ended with OK: what `with_call` and interceptors are given."""

    __slots__ = ("_reply", "_end")

    def __init__(self, reply: Any, end: CallEnd) -> None:
        self._reply, self._end = reply, end

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return self._end.initial

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self._end.trailing

    def code(self) -> StatusCode:
        return self._end.code

    def details(self) -> str:
        return self._end.details

    def cancelled(self) -> bool:
        return False

    def result(self, timeout: float | None = None) -> Any:
        return self._reply

    def exception(self, timeout: float | None = None) -> None:
        return None

    def traceback(self, timeout: float | None = None) -> None:
        return None


class _FailedInterceptor(CallError):
    """A call that an interceptor ended by raising something that is no RpcError."""

    def __init__(self, error: Exception) -> None:
        super().__init__(CallEnd(StatusCode.INTERNAL, f"an interceptor raised {type(error).__name__}: {error}"))
        self._error = error

    def result(self, timeout: float | None = None) -> Any:
        raise self._error

    def exception(self, timeout: float | None = None) -> Exception:  # type: ignore[override]
        return self._error


class InterceptedUnaryUnary:
    """The unary multi-callable of an intercepted channel: `inner` with `interceptor` around it."""

    def __init__(self, path: str, inner: Any, interceptor: UnaryUnaryClientInterceptor) -> None:
        self._path, self._inner, self._interceptor = path, inner, interceptor

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._intercept(self._blocking, request, options).result()

    def with_call(self, request: Any, **options: Any) -> tuple[Any, Any]:
        call = self._intercept(self._blocking, request, options)
        return call.result(), call

    def future(self, request: Any, **options: Any) -> Any:
        return self._intercept(self._started, request, options)

    def _intercept(self, continuation: Callable[..., Any], request: Any, options: dict[str, Any]) -> Any:
        details = CallDetails(self._path, **options)
        try:
            return self._interceptor.intercept_unary_unary(continuation, details, request)
        except CallError as error:
            return error
        except Exception as error:
            return _FailedInterceptor(error)

    def _blocking(self, details: Any, request: Any) -> Any:
        try:
            return self._inner.with_call(request, **_options(details))[1]
        except CallError as error:
            return error

    def _started(self, details: Any, request: Any) -> Any:
        return self._inner.future(request, **_options(details))


def _options(details: Any) -> dict[str, Any]:
    """Keyword arguments of a call out of any object with (some of) ClientCallDetails' attributes."""
    names = CallDetails._fields[1:]
    return {name: value for name in names if (value := getattr(details, name, None)) is not None}


class InterceptedChannel:
    """A channel with one interceptor around its calls. `intercept_channel` makes it."""

    def __init__(self, channel: Any, interceptor: Any) -> None:
        self._channel, self._interceptor = channel, interceptor

    def unary_unary(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        inner = self._channel.unary_unary(method, *args, **kwargs)
        if isinstance(self._interceptor, UnaryUnaryClientInterceptor):
            return InterceptedUnaryUnary(getattr(method, "path", method), inner, self._interceptor)
        return inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def __enter__(self) -> InterceptedChannel:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._channel.close()


def intercept_channel(channel: Any, *interceptors: Any) -> Any:
    """A channel whose calls pass `interceptors`, the first one outermost. Raises TypeError for what is no client interceptor."""
    for interceptor in reversed(interceptors):
        if not isinstance(interceptor, CLIENT_INTERCEPTORS):
            raise TypeError(
                f"{type(interceptor).__name__} is no client interceptor: derive it from mrpc.UnaryUnaryClientInterceptor"
            )
        channel = InterceptedChannel(channel, interceptor)
    return channel


def find_handler(
    interceptors: Sequence[ServerInterceptor],
    lookup: Callable[[HandlerCallDetails], RpcMethodHandler | None],
    details: HandlerCallDetails,
) -> RpcMethodHandler | None:
    """Asks `lookup` through all interceptors, the first one outermost."""
    if not interceptors:
        return lookup(details)
    return interceptors[0].intercept_service(lambda inner: find_handler(interceptors[1:], lookup, inner), details)
