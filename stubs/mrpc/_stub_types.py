"""Types of what generated stubs and servicers have; they exist for type checkers (the objects are mrpc's own)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Request = TypeVar("Request", contravariant=True)
Reply = TypeVar("Reply", covariant=True)
T = TypeVar("T")

HandlerReply = T | Awaitable[T]
RequestIterator = Iterator[T] | AsyncIterator[T]
ReplyIterator = Iterator[T] | AsyncIterator[T]


class UnaryUnary(Protocol[Request, Reply]):
    """One request, one reply."""

    def __call__(self, request: Request, timeout: float | None = None, metadata: Any = None, **keywords: Any) -> Reply:
        """Waits for the reply. Raises RpcError."""

    def with_call(self, request: Request, timeout: float | None = None, metadata: Any = None, **keywords: Any) -> tuple[Reply, Any]:
        """The reply, and the call with its metadata and status."""

    def future(self, request: Request, timeout: float | None = None, metadata: Any = None, **keywords: Any) -> Any:
        """Starts the call."""


class UnaryStream(Protocol[Request, Reply]):
    """One request, many replies."""

    def __call__(self, request: Request, timeout: float | None = None, metadata: Any = None, **keywords: Any) -> Iterator[Reply]: ...


class StreamUnary(Protocol[Request, Reply]):
    """Many requests, one reply."""

    def __call__(self, request_iterator: Iterable[Request], timeout: float | None = None, metadata: Any = None, **keywords: Any) -> Reply: ...


class StreamStream(Protocol[Request, Reply]):
    """Many requests, many replies."""

    def __call__(
        self, request_iterator: Iterable[Request], timeout: float | None = None, metadata: Any = None, **keywords: Any
    ) -> Iterator[Reply]: ...


class AsyncUnaryUnary(Protocol[Request, Reply]):
    """One request, one reply, in asyncio."""

    def __call__(self, request: Request, timeout: float | None = None, metadata: Any = None, **keywords: Any) -> Awaitable[Reply]: ...


class AsyncUnaryStream(Protocol[Request, Reply]):
    """One request, many replies, in asyncio."""

    def __call__(self, request: Request, timeout: float | None = None, metadata: Any = None, **keywords: Any) -> AsyncIterator[Reply]: ...


class AsyncStreamUnary(Protocol[Request, Reply]):
    """Many requests, one reply, in asyncio."""

    def __call__(
        self,
        request_iterator: AsyncIterable[Request] | Iterable[Request] | None = None,
        timeout: float | None = None,
        metadata: Any = None,
        **keywords: Any,
    ) -> Awaitable[Reply]: ...


class AsyncStreamStream(Protocol[Request, Reply]):
    """Many requests, many replies, in asyncio."""

    def __call__(
        self,
        request_iterator: AsyncIterable[Request] | Iterable[Request] | None = None,
        timeout: float | None = None,
        metadata: Any = None,
        **keywords: Any,
    ) -> AsyncIterator[Reply]: ...
