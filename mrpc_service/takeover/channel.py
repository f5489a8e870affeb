"""Packets of the hand-over: JSON with descriptors, between two processes of one user."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import struct
from dataclasses import dataclass
from typing import Any

from mrpc_service.errors import StartupError

SO_PEERPIDFD = 77
PACKET_BYTES_MAX = 128 << 10
FDS_OF_PACKET = 200  # the kernel takes 253
SEND_MAX_S = 5.0     # on a socket that nobody empties
UCRED = struct.Struct("3i")  # pid, uid, gid


class TakeoverError(StartupError):
    """Why a hand-over did not come about. The predecessor serves on."""


class PeerGone(TakeoverError):
    """The other process has closed its end, or died."""


@dataclass(frozen=True)
class Packet:
    kind: str
    body: dict[str, Any]
    fds: list[int]


class Channel:
    """One end. Blocking, with a timeout for each packet."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket. TakeoverError if a stranger is at its other end."""
        self._socket = sock
        self.peer_pid, uid, _ = UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
        if uid not in (0, os.geteuid()):
            sock.close()
            raise TakeoverError(f"uid {uid} is at the other end of the hand-over; only root and uid {os.geteuid()} may")

    def send(self, kind: str, fds: list[int] | None = None, **body: Any) -> None:
        """PeerGone."""
        data = json.dumps({"kind": kind, **body}).encode()
        self._socket.settimeout(SEND_MAX_S)
        try:
            socket.send_fds(self._socket, [data], fds or [])
        except OSError as error:
            raise PeerGone(f"the other mrpcd (pid {self.peer_pid}) is gone: {error.strerror or error}") from None

    def receive(self, timeout_s: float) -> Packet:
        """The next packet. PeerGone; TakeoverError when none comes in time, or none that can be read."""
        self._socket.settimeout(timeout_s)
        try:
            data, fds, flags, _ = socket.recv_fds(self._socket, PACKET_BYTES_MAX, FDS_OF_PACKET, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            raise TakeoverError(f"the other mrpcd (pid {self.peer_pid}) did not answer within {timeout_s:g} s") from None
        except OSError as error:
            raise PeerGone(f"the other mrpcd (pid {self.peer_pid}) is gone: {error.strerror}") from None
        if not data:
            raise PeerGone(f"the other mrpcd (pid {self.peer_pid}) is gone")
        return parse(data, fds, flags)

    def expect(self, kind: str, timeout_s: float) -> Packet:
        """The next packet, of this kind. TakeoverError; its text is the other side's, where it refused."""
        packet = self.receive(timeout_s)
        if packet.kind == "refused":
            raise TakeoverError(str(packet.body.get("text", "refused without a reason")))
        if packet.kind != kind:
            close_all(packet.fds)
            raise TakeoverError(f"the other mrpcd said {packet.kind!r} where {kind!r} was due")
        return packet

    def last_word(self) -> Packet | None:
        """Shut this end, so that nothing more can be sent to it; then what had been sent before, if anything had."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            return self.receive(1.0)
        except TakeoverError:
            return None

    def peer_is_dead(self) -> bool:
        """Whether the process at the other end has died, rather than closed the socket."""
        try:
            fd = struct.unpack("i", self._socket.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, 4))[0]
        except OSError:  # of a process that was waited for, the kernel gives none
            return True
        try:
            return bool(select.select([fd], [], [], 0)[0])
        finally:
            os.close(fd)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


def parse(data: bytes, fds: list[int], flags: int) -> Packet:
    """TakeoverError for bytes that are no packet."""
    try:
        body = json.loads(data)
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not isinstance(body, dict):
            raise ValueError("truncated")
        return Packet(str(body.pop("kind")), body, fds)
    except (ValueError, KeyError):
        close_all(fds)
        raise TakeoverError("the other mrpcd sent what is no packet of a hand-over") from None


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


# ---- what is too long for a packet travels as a file in memory

def pack(name: str, content: bytes) -> int:
    """A descriptor, the caller's."""
    fd = os.memfd_create(name)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd


def unpack(fd: int) -> bytes:
    """What pack() was given. Takes the descriptor."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        return file.read()


def pack_schemas(schemas: list[dict[str, Any]]) -> int:
    """Of `Dataplane.schemas`."""
    written = [{**each, "schema": base64.b64encode(each["schema"]).decode()} for each in schemas]
    return pack("mrpc-takeover-schemas", json.dumps(written).encode())


def unpack_schemas(fd: int) -> list[dict[str, Any]]:
    return [{**each, "schema": base64.b64decode(each["schema"])} for each in json.loads(unpack(fd))]
