"""A blocking client of the operators' API, for the CLI and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from mrpc_service.control.control_pb2 import DESCRIPTOR
from mrpc_service.control.names import method_path
from mrpc_service.runtime_dir import RuntimeDir, holder_pid

METHODS = DESCRIPTOR.services_by_name["Control"].methods_by_name
TIMEOUT_S = 30.0
CHANGE_TIMEOUT_S = 300.0  # where programs are compiled
CHANGES = {"Apply", "DryRun", "Rollback", "Reload"}


class ControlError(Exception):
    """A call of the API failed."""

    def __init__(self, code: Status, text: str) -> None:
        super().__init__(text)
        self.code = code


class NoDaemon(ControlError):
    """Nobody serves the control socket, or it is out of this user's reach."""


class ControlClient:
    """`client.call("GetStatus")`, `client.stream("ReadLogs", follow=True)`: the keywords are the request's fields."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._runner = asyncio.Runner()
        self._channel: Channel | None = None

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel is not None:
            self._runner.run(self._close())
        self._runner.close()

    def call(self, method: str, /, **request: Any) -> Any:
        """The reply message. ControlError, NoDaemon."""
        return self._runner.run(self._call(method, request))

    def stream(self, method: str, /, **request: Any) -> Iterator[Any]:
        """Reply messages until the daemon ends the stream. ControlError, NoDaemon."""
        replies = self._stream(method, request)
        try:
            while (reply := self._runner.run(_next(replies))) is not None:
                yield reply
        finally:
            self._runner.run(replies.aclose())

    async def _call(self, name: str, request: dict[str, Any]) -> Message:
        method = METHODS[name]
        caller = UnaryUnaryMethod(self._open(), method_path(method), *_types(method))
        timeout_s = CHANGE_TIMEOUT_S if name in CHANGES else TIMEOUT_S
        try:
            return await caller(GetMessageClass(method.input_type)(**request), timeout=timeout_s)
        except (TimeoutError, GRPCError, OSError, StreamTerminatedError) as error:
            raise self._explain(error) from None

    async def _stream(self, name: str, request: dict[str, Any]) -> AsyncIterator[Message]:
        method = METHODS[name]
        caller = UnaryStreamMethod(self._open(), method_path(method), *_types(method))
        try:
            async with caller.open() as stream:
                await stream.send_message(GetMessageClass(method.input_type)(**request), end=True)
                async for reply in stream:
                    yield reply
        except (GRPCError, OSError, StreamTerminatedError) as error:
            raise self._explain(error) from None

    def _open(self) -> Channel:
        if self._channel is None:
            self._channel = Channel(path=str(self._runtime.control_socket))
        return self._channel

    async def _close(self) -> None:
        assert self._channel is not None
        self._channel.close()

    def _explain(self, error: Exception) -> ControlError:
        if isinstance(error, GRPCError):
            return ControlError(error.status, error.message or error.status.name)
        if isinstance(error, asyncio.TimeoutError):
            return ControlError(Status.DEADLINE_EXCEEDED, "mrpcd did not answer in time; see its log")
        if isinstance(error, PermissionError):
            text = f"control socket in {self._runtime.path} is closed to this user; run as root or as the daemon's user"
            return NoDaemon(Status.PERMISSION_DENIED, text)
        if holder_pid(self._runtime) is not None:
            text = f"mrpcd holds {self._runtime.path} but does not answer: it is starting, stopping or stuck; see its log"
            return NoDaemon(Status.UNAVAILABLE, text)
        return NoDaemon(Status.UNAVAILABLE, f"no mrpcd at {self._runtime.path}; start it with 'mrpcd', then 'mrpc check'")


def _types(method: Any) -> tuple[type[Message], type[Message]]:
    return GetMessageClass(method.input_type), GetMessageClass(method.output_type)


async def _next(replies: AsyncIterator[Message]) -> Message | None:
    return await anext(replies, None)
