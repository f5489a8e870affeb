"""The gRPC server of the operators' API, on a unix socket, where SO_PEERCRED tells who calls.

grpclib rather than grpcio: it shows the connection's socket, and costs 3 MiB instead of 21 (docs/decisions/010).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.const import Cardinality, Handler, Status
from grpclib.events import RecvRequest, listen
from grpclib.exceptions import GRPCError
from grpclib.health.service import Health
from grpclib.protocol import Peer
from grpclib.reflection.service import ServerReflection
from grpclib.server import Server, Stream

from mrpc_service.control.control_pb2 import DESCRIPTOR
from mrpc_service.control.names import method_path, snake_case
from mrpc_service.runtime_dir import RuntimeDir, bind_private

SERVICE = DESCRIPTOR.services_by_name["Control"]
UCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid


def peer_uid(peer: Peer) -> int:
    """The uid at the other end of the connection, as the kernel noted it when the connection was made."""
    connection = peer._transport.get_extra_info("socket")  # grpclib offers no public way to the socket
    _, uid, _ = UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    return uid


async def refuse_strangers(event: RecvRequest) -> None:
    """Only root and the daemon's user are operators. The directory's mode says so too: this stands if that is changed."""
    uid = peer_uid(event.peer)
    if uid not in (0, os.geteuid()):
        raise GRPCError(Status.PERMISSION_DENIED, f"uid {uid} is no operator of this mrpcd; run as root or uid {os.geteuid()}")


class ControlHandlers:
    """Serves `Control` by an object with one coroutine for each unary method, and one asynchronous generator for each
    streaming one: `method_name(request, operator_uid)`."""

    def __init__(self, servicer: object) -> None:
        self._servicer = servicer

    def __mapping__(self) -> dict[str, Handler]:
        return {method_path(method): self._handler(method) for method in SERVICE.methods}

    def _handler(self, method: Any) -> Handler:
        target = getattr(self._servicer, snake_case(method.name))
        call, cardinality = (
            (_stream(target), Cardinality.UNARY_STREAM) if method.server_streaming else (_unary(target), Cardinality.UNARY_UNARY)
        )
        return Handler(call, cardinality, GetMessageClass(method.input_type), GetMessageClass(method.output_type))


def _unary(target: Callable[[Message, int], Awaitable[Message]]) -> Callable[[Stream], Awaitable[None]]:
    async def serve(stream: Stream) -> None:
        request = await stream.recv_message()
        await stream.send_message(await target(request, peer_uid(stream.peer)))

    return serve


def _stream(target: Callable[[Message, int], AsyncIterator[Message]]) -> Callable[[Stream], Awaitable[None]]:
    async def serve(stream: Stream) -> None:
        request = await stream.recv_message()
        async for message in target(request, peer_uid(stream.peer)):
            await stream.send_message(message)

    return serve


async def serve(bound: socket.socket, servicer: object) -> Server:
    """Serve on what bind() made, or a predecessor's bind()."""
    handlers = ControlHandlers(servicer)
    server = Server(ServerReflection.extend([handlers, Health()]))
    listen(server, RecvRequest, refuse_strangers)
    await server.start(sock=bound)
    return server


def bind(runtime: RuntimeDir) -> socket.socket:
    return bind_private(runtime.control_socket, socket.SOCK_STREAM)
