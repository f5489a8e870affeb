"""An application that speaks native/shm/abi.h by hand, so that it can break every rule of it.

Little-endian, ABI level 1. Nothing here is checked that a hostile application would not check.
"""

from __future__ import annotations

import array
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x4350526D
ENDIAN_PROBE = 0x01020304
CLIENT, SERVER = 1, 2
PACKET_MAX = 32 * 1024
PAGE = 4096
SLOT_BYTES = 64
SEND_REGION, RECEIVE_REGION = 1, 2
FRAGMENT_MORE = 1

HELLO, WELCOME, ERROR, REGISTER_SCHEMA, SCHEMA_REGISTERED, OFFER, OFFERED = 1, 2, 3, 4, 5, 6, 7
WITHDRAW, WITHDRAWN, BIND, BOUND, GOODBYE = 8, 9, 10, 11, 18
OPEN, MESSAGE, HALF_CLOSE, CANCEL, CREDIT, STATUS, RECLAIM, INITIAL_METADATA, CONTROL = range(1, 10)
END, HAS_MESSAGE, HOLD = 1, 2, 4

HEADER = struct.Struct("<IHHII")
HELLO_BODY = struct.Struct("<HHIQIIHHI")
WELCOME_BODY = struct.Struct("<HHIQQQQIIIIQ")
REGION = struct.Struct("<IIQIiII")
SLOT = struct.Struct("<BBBBIQQQQIIQQ")
BLOCK = struct.Struct("<QQIIII")
SEGMENT = struct.Struct("<QQII")
WORD = struct.Struct("<I")
PAIR = struct.Struct("<II")

WAIT_S = 8.0


class Gone(Exception):
    """The daemon ended the attachment; the text is its reason, or empty when it gave none."""


@dataclass
class Packet:
    kind: int
    request_id: int
    body: bytes
    fds: list[int]


@dataclass
class Slot:
    kind: int
    flags: int = 0
    code: int = 0
    reserved0: int = 0
    handle: int = 0
    call_id: int = 0
    offset: int = 0
    length: int = 0
    aux: int = 0
    region: int = 0
    sequence: int = 0
    reserved1: int = 0
    reserved2: int = 0

    def pack(self) -> bytes:
        return SLOT.pack(*vars(self).values())


def hello_body(
    role: int = CLIENT, *, level_min: int = 1, level_max: int = 1, probe: int = ENDIAN_PROBE, label: bytes = b"raw",
    token: bytes = b"", label_bytes: int | None = None, reserved: int = 0,
) -> bytes:  # fmt: skip
    lengths = (len(label) if label_bytes is None else label_bytes, len(token))
    return HELLO_BODY.pack(level_min, level_max, probe, 0, role, os.getpid(), *lengths, reserved) + label + token


def deadline_ns(seconds: float) -> int:
    """For Slot.aux of a kOpen."""
    return time.monotonic_ns() + int(seconds * 1e9)


def echo_image(text: bytes = b"", payload: bytes = b"", command: bytes = b"") -> bytes:
    """The canonical image of an echo.EchoRequest: unknown, presence, then text, payload, numbers, command as Refs."""
    parts, refs = bytearray(), []
    for content in (text, payload, b"", command):
        if not content:
            refs.append((0, 0))
            continue
        parts += bytes(-len(parts) % 8)
        refs.append((48 + len(parts), len(content)))
        parts += content
    return bytes(16) + b"".join(PAIR.pack(*ref) for ref in refs) + bytes(parts)


def block(image: bytes, *, metadata: bytes = b"", segments: Sequence[tuple[int, int, int]] = (), image_bytes: int | None = None) -> bytes:
    """A block of abi.h: header, segments (offset, length, region), metadata, image on a multiple of 64."""
    whole = len(image) if image_bytes is None else image_bytes
    out = BLOCK.pack(whole, len(image), len(metadata), 0, len(segments), 0)
    out += b"".join(SEGMENT.pack(*segment, 0) for segment in segments) + metadata
    out += bytes(-len(out) % 64)
    return out + image


class RawApp:
    """One connection to app.sock and, after attach(), the memory that came with it (of shard 0)."""

    def __init__(self, runtime_dir: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(str(runtime_dir / "app.sock"))
        self._next_request = 1
        self._seen: list[Slot] = []  # taken, not returned by completion() yet

    # ---- app.sock

    def send(self, kind: int, body: bytes = b"", *, request_id: int = 0, fds: Sequence[int] = (), **header: int) -> None:
        """Fragments as needed; `magic`, `flags` and `length` replace what is right."""
        head = {"magic": MAGIC, "flags": 0} | header
        at = 0
        while True:
            part = body[at : at + PACKET_MAX - HEADER.size]
            at += len(part)
            flags = head["flags"] | (FRAGMENT_MORE if at < len(body) else 0)
            self.send_raw(HEADER.pack(head["magic"], kind, flags, head.get("length", len(part)), request_id) + part, fds)
            if at >= len(body):
                return

    def send_raw(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        """Raises Gone when the daemon has hung up."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.sendmsg([packet], rights)
        except (BrokenPipeError, ConnectionResetError):
            raise Gone(self.last_words()) from None

    def receive(self) -> Packet:
        """The next packet. Raises Gone at the end, with the daemon's last words."""
        try:
            packet, rights, _, _ = self.socket.recvmsg(PACKET_MAX, socket.CMSG_SPACE(64 * 4))
        except ConnectionResetError:
            raise Gone("") from None
        if not packet:
            raise Gone("")
        _, kind, _, _, request_id = HEADER.unpack_from(packet)
        body = packet[HEADER.size :]
        if kind == ERROR and request_id == 0:
            raise Gone(body[8:].decode())
        fds = array.array("i")
        for _, _, data in rights:
            fds.frombytes(data[: len(data) // 4 * 4])
        return Packet(kind, request_id, body, list(fds))

    def last_words(self) -> str:
        """Reads to the end of the connection: why the daemon ended it."""
        try:
            while True:
                self.receive()
        except Gone as gone:
            return str(gone)

    def ask(self, kind: int, body: bytes, answer: int) -> Packet:
        """A request and its answer. RuntimeError with the text of a refusal."""
        self._next_request += 1
        self.send(kind, body, request_id=self._next_request)
        while (packet := self.receive()).request_id != self._next_request:
            pass
        if packet.kind == ERROR:
            raise RuntimeError(packet.body[8:].decode())
        assert packet.kind == answer
        return packet

    def attach(self, role: int = CLIENT) -> RawApp:
        welcome = self.ask(HELLO, hello_body(role), WELCOME)
        _, self.shards, self.attachment_id, _, _, self.send_quota, self.receive_quota, self.ring_slots, *_ = WELCOME_BODY.unpack_from(
            welcome.body
        )
        regions = [REGION.unpack_from(welcome.body, WELCOME_BODY.size + i * REGION.size) for i in range(2)]
        self.app_rings_fd, self.daemon_rings_fd, self.wake_fd, self.send_fd, self.receive_fd, self.doorbell = welcome.fds[:6]
        ring_bytes = PAGE * (1 + self.shards) + self.shards * self.ring_slots * SLOT_BYTES
        self.app_rings = mmap.mmap(self.app_rings_fd, ring_bytes)
        self.daemon_rings = mmap.mmap(self.daemon_rings_fd, ring_bytes, prot=mmap.PROT_READ)
        self.send_heap = mmap.mmap(self.send_fd, regions[0][2])
        self.receive_heap = mmap.mmap(self.receive_fd, regions[1][2], prot=mmap.PROT_READ)
        self._slots_at = PAGE * (1 + self.shards)
        self.tail = self.head = 0
        return self

    def close(self) -> None:
        for mapping in (self.app_rings, self.daemon_rings, self.send_heap, self.receive_heap):
            mapping.close()
        for fd in (self.app_rings_fd, self.daemon_rings_fd, self.wake_fd, self.send_fd, self.receive_fd, self.doorbell):
            os.close(fd)
        self.socket.close()

    def register(self, schema: bytes) -> int:
        return PAIR.unpack(self.ask(REGISTER_SCHEMA, schema, SCHEMA_REGISTERED).body)[0]

    def bind(self, schema_id: int, service: str = "echo.Echo") -> int:
        """The handle of the service's first method."""
        bound = self.ask(BIND, PAIR.pack(schema_id, 0) + service.encode() + b"\0", BOUND)
        return PAIR.unpack_from(bound.body, 8)[0]

    def offer(self, schema_id: int, service: str = "echo.Echo") -> int:
        """The handle of the service's first method."""
        offered = self.ask(OFFER, PAIR.pack(schema_id, 0) + service.encode(), OFFERED)
        return PAIR.unpack_from(offered.body, 8)[0]

    # ---- rings and heap

    def set_submit_tail(self, value: int) -> None:
        WORD.pack_into(self.app_rings, PAGE, value & 0xFFFFFFFF)
        self.ring()

    def set_complete_head(self, value: int) -> None:
        WORD.pack_into(self.app_rings, PAGE + 64, value & 0xFFFFFFFF)

    def submit_head(self) -> int:
        return WORD.unpack_from(self.daemon_rings, PAGE + 64)[0]

    def complete_tail(self) -> int:
        return WORD.unpack_from(self.daemon_rings, PAGE)[0]

    def closed(self) -> bool:
        return bool(WORD.unpack_from(self.daemon_rings, 4)[0])

    def room(self) -> int:
        return self.ring_slots - (self.tail - self.submit_head() & 0xFFFFFFFF)

    def push(self, *slots: Slot | bytes) -> None:
        """Writes and publishes, whether there is room or not."""
        for slot in slots:
            at = self._slots_at + self.tail % self.ring_slots * SLOT_BYTES
            self.app_rings[at : at + SLOT_BYTES] = slot if isinstance(slot, bytes) else slot.pack()
            self.tail = self.tail + 1 & 0xFFFFFFFF
        self.set_submit_tail(self.tail)

    def ring(self) -> None:
        try:
            os.eventfd_write(self.doorbell, 1)
        except OSError:  # full, as a test may have made it
            return

    def put(self, at: int, content: bytes) -> int:
        self.send_heap[at : at + len(content)] = content
        return len(content)

    def opening(self, handle: int, call_id: int, image: bytes, *, at: int = 0, **slot: int) -> Slot:
        """A kOpen with its block written at `at`."""
        length = self.put(at, block(image))
        return Slot(**({"kind": OPEN, "flags": END | HAS_MESSAGE, "handle": handle, "call_id": call_id, "offset": at, "length": length,
                        "region": SEND_REGION} | slot))  # fmt: skip

    def take(self) -> list[Slot]:
        """New completions; their slots are given back."""
        tail, taken = self.complete_tail(), []
        while self.head != tail:
            at = self._slots_at + self.head % self.ring_slots * SLOT_BYTES
            taken.append(Slot(*SLOT.unpack_from(self.daemon_rings, at)))
            self.head = self.head + 1 & 0xFFFFFFFF
        self.set_complete_head(self.head)
        return taken

    def await_change(self) -> None:
        """Waits until the daemon wakes this application, or the attachment ends (Gone)."""
        WORD.pack_into(self.app_rings, 4, 1)
        poll = select.poll()
        poll.register(self.wake_fd, select.POLLIN)
        poll.register(self.socket, select.POLLIN)
        readable = [fd for fd, _ in poll.poll(20)]
        if self.wake_fd in readable:
            os.read(self.wake_fd, PAGE)
        if self.socket.fileno() in readable:
            self.receive()

    def completion(self) -> Slot:
        """The next completion that is no kReclaim."""
        while True:
            self._seen += (slot for slot in self.take() if slot.kind != RECLAIM)
            if self._seen:
                return self._seen.pop(0)
            self.await_change()

    def drained(self) -> None:
        """Waits until the daemon has taken everything that was submitted. Gone when it ends the attachment instead."""
        while self.submit_head() != self.tail:
            self.ring()
            self.await_change()

    def ended(self) -> str:
        """Waits for the end of the attachment: the daemon's reason. TimeoutError when it does not come."""
        return self.last_words()

    def reply_text(self, slot: Slot) -> str:
        """Of a kStatus that failed: the text in its details."""
        _, _, metadata_bytes, details_bytes, _, _ = BLOCK.unpack_from(self.receive_heap, slot.offset)
        at = slot.offset + BLOCK.size + metadata_bytes
        at += -at % 8
        if details_bytes == 0:
            return ""
        length = WORD.unpack_from(self.receive_heap, at)[0]
        return self.receive_heap[at + 4 : at + 4 + length].decode()
