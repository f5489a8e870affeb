"""A client's way to the service: stubs, for whom it calls, how long it waits."""
from __future__ import annotations

import copy
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import transport
from . import exceptions
from .advice import missing_method, unknown_argument
from .encode import Encoder
from .local import Local
from .operations import T, finish

TIMEOUT_S = 10.0
SERVICES = ("Points", "Collections", "Tenants")


class Base:
    """location, or url: "mrpc:///APP" for the service of one app on the mesh; without, whoever offers it; host:port over gRPC;
    ":memory:" for a database of the client's own, in memory, and path for one in a folder. tenant: for whom to call, where operators
    granted that (act_as); without, for the calling app itself. timeout: seconds that a call may take.

    Methods raise what exceptions.py has. qdrant_client's methods and arguments that are not here say so, and what to do instead."""

    def __init__(self, location: str | None = None, url: str | None = None, *, path: str | None = None, tenant: str = "",
                 timeout: float = TIMEOUT_S, system: str = "mrpc", **others: Any) -> None:
        if others:
            raise TypeError(unknown_argument(type(self).__name__, others))
        target = location or url
        self._transport = transport.load(system)
        if target is None and path is None and system != "mrpc":
            raise ValueError("over gRPC a client needs the server's host:port")
        self._pb, self._own, self._timeout_s = self._transport.pb, tenant, timeout
        self._metadata = ((transport.TENANT_KEY, tenant),) if tenant else None
        self._errors = (self._transport.rpc.RpcError, exceptions.ApiException)
        self._resources = self._new_resources()
        # mRPC takes arrays as they are, and those of mrpc.empty without a copy.
        self._encoder = Encoder(self._pb, np.ndarray.tobytes if system == "grpc" else np.asarray)
        self._local = Local(path, tenant, self._transport) if path or target == ":memory:" else None
        self._points, self._collections, self._tenants = (self._stub(name, target) for name in SERVICES)

    if not TYPE_CHECKING:  # to which what is not there is an error already

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(missing_method(type(self).__name__, name), name=name, obj=self)

    def _stub(self, service: str, target: str | None) -> Any:
        if self._local is not None:
            return self._local.stub(service)
        channel = self._channel(target or f"mrpc:///vectordb.{service}")
        return getattr(self._transport.pb_grpc, f"{service}Stub")(channel)

    _new_resources: type
    _resources: Any

    def _channel(self, target: str) -> Any:
        raise NotImplementedError

    async def _call(self, method: Any, request: Any) -> Any:
        """The reply, once it is there."""
        raise NotImplementedError

    def _waiting(self, timeout_s: float) -> Self:
        """The same, with calls that may take so long."""
        other = copy.copy(self)
        other._timeout_s = timeout_s
        return other


class Connection(Base):
    """Usable by any number of threads."""

    _new_resources = ExitStack

    def close(self) -> None:
        self._resources.close()
        if self._local is not None:
            self._local.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _channel(self, target: str) -> Any:
        return self._resources.enter_context(self._transport.rpc.insecure_channel(target, transport.OPTIONS))

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s, metadata=self._metadata)
        except self._errors as error:
            raise exceptions.of(error) from error

    def _run(self, steps: Coroutine[Any, Any, T]) -> T:
        return finish(steps)


class AsyncConnection(Base):
    """For one event loop. One with a database of its own works while the loop waits."""

    _new_resources = AsyncExitStack

    async def close(self) -> None:
        await self._resources.aclose()
        if self._local is not None:
            self._local.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _channel(self, target: str) -> Any:
        channel = import_module(f"{self._transport.system}.aio").insecure_channel(target, transport.OPTIONS)
        self._resources.push_async_callback(channel.close)
        return channel

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            reply = method(request, timeout=self._timeout_s, metadata=self._metadata)
            return reply if self._local is not None else await reply
        except self._errors as error:
            raise exceptions.of(error) from error

    def _run(self, steps: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        return steps
