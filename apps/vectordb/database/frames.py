"""Frames: how records lie in a log segment, a manifest or an export file.

A file begins with a header of 32 bytes and goes on with frames on 8-byte boundaries, all little-endian:
    header  magic 8s · version u32 · crc u32 of the rest · generation u32 · salt u32 · first sequence u64
    frame   length u32 of the body, its top bit set when more frames of the transaction follow · crc u32 · sequence u64 ·
            durable u64 · body · zeros up to the boundary
The crc is over length, sequence, durable and body. Sequences go up by one. Zeros behind the last frame are room made ahead.

Bodies have vectors of tenants, who could write one that looks like a frame, to be found behind a write that was torn. So in a file with a
salt, which is version 2 and whose salt nobody else knows, the two halves of sequences and durables are mixed with it.

`durable` is the last sequence that was known to be on the disk when the frame was written. It tells a torn tail from a damaged
middle: what was not yet durable may be lost in any order when the power goes, so a bad frame with good ones behind it is
no damage, unless one of those knew the bad one to be durable.
"""
from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .errors import Damaged, Invalid

HEADER = struct.Struct("<8sIIIIQ")
FRAME = struct.Struct("<IIQQ")
_CHECKED = struct.Struct("<IQQ")
_HEADER_CHECKED = struct.Struct("<8sIIIQ")
VERSIONS = 1, 2  # without and with a salt
MORE = 1 << 31
BODY_MAX = 1 << 30


def header(magic: bytes, generation: int, first: int, salt: int = 0) -> bytes:
    """The header of a file of frames whose first has the sequence `first`."""
    version = VERSIONS[salt > 0]
    crc = zlib.crc32(_HEADER_CHECKED.pack(magic, version, generation, salt, first))
    return HEADER.pack(magic, version, crc, generation, salt, first)


def read_header(data: memoryview, magic: bytes, name: object) -> tuple[int, int, int]:
    """(generation, first sequence, salt). Damaged for a header that is short, of another kind or version, or has a wrong checksum."""
    if len(data) < HEADER.size:
        raise Damaged(f"{name}: has {len(data)} bytes, its header alone has {HEADER.size}")
    found, version, crc, generation, salt, first = HEADER.unpack_from(data)
    if found != magic or version not in VERSIONS:
        raise Damaged(f"{name}: offset 0: begins with {found!r}, version {version}; expected {magic!r}, version {VERSIONS[-1]} or before")
    if crc != zlib.crc32(_HEADER_CHECKED.pack(found, version, generation, salt, first)):
        raise Damaged(f"{name}: offset 0: the checksum of the header is wrong")
    return generation, first, salt


def _mask(salt: int) -> int:
    return salt << 32 | salt


def encode(body: bytes, sequence: int, durable: int, more: bool, salt: int = 0) -> list[bytes]:
    """A frame, as parts to write one after the other. Invalid for a body over BODY_MAX, which no reader takes for one."""
    if len(body) > BODY_MAX:
        raise Invalid(f"a change of {len(body)} bytes is over the {BODY_MAX} that the log takes at once: make it in parts")
    length = len(body) | (MORE if more else 0)
    sequence, durable = sequence ^ _mask(salt), durable ^ _mask(salt)
    crc = zlib.crc32(body, zlib.crc32(_CHECKED.pack(length, sequence, durable)))
    return [FRAME.pack(length, crc, sequence, durable), body, bytes(-len(body) % 8)]


def size_of(body: bytes) -> int:
    """Bytes of the frame of that body."""
    return FRAME.size + len(body) + -len(body) % 8


def _frame_at(data: memoryview, at: int, salt: int) -> tuple[int, int, memoryview] | None:
    """(length field, sequence, body) of the good frame there, or None."""
    if at + FRAME.size > len(data):
        return None
    length, crc, sequence, durable = FRAME.unpack_from(data, at)
    size = length & ~MORE
    start, end = at + FRAME.size, at + FRAME.size + size
    body, padding = data[start:end], data[end:end + -size % 8]
    if not sequence or size > BODY_MAX or len(body) < size or any(padding):
        return None
    good = crc == zlib.crc32(body, zlib.crc32(_CHECKED.pack(length, sequence, durable)))
    return (length, sequence ^ _mask(salt), body) if good else None


class Reader:
    """Iterates over the bodies of whole transactions; then `end` is the offset behind the last, `sequence` its sequence."""

    def __init__(self, data: memoryview, first: int, start: int = HEADER.size, salt: int = 0) -> None:
        self._data, self.size, self.salt = data, len(data), salt
        self.end, self.sequence = start, first - 1
        self._stopped_at, self._expected = start, first

    def __iter__(self) -> Iterator[list[memoryview]]:
        bodies: list[memoryview] = []
        while (frame := _frame_at(self._data, self._stopped_at, self.salt)) and frame[1] == self._expected:
            length, sequence, body = frame
            bodies.append(body)
            self._stopped_at += FRAME.size + len(body) + -len(body) % 8
            self._expected += 1
            if not length & MORE:
                self.end, self.sequence = self._stopped_at, sequence
                yield bodies
                bodies = []

    def torn(self) -> int:
        """After the last: how many bytes from the end of the last transaction on hold something."""
        rest = np.frombuffer(self._data[self.end:], np.uint8)
        used = np.flatnonzero(rest)
        return int(used[-1]) + 1 if len(used) else 0

    def damage(self) -> int | None:
        """After the last: the offset of a bad frame that a later one knew to be durable, or None when what is left is a torn tail."""
        words = np.frombuffer(self._data[self._stopped_at:self._stopped_at + (len(self._data) - self._stopped_at) // 8 * 8], "<u8")
        words = words ^ np.uint64(_mask(self.salt))
        sequences, durables = words[1:-1], words[2:]
        last = self._expected + len(words)  # there is no room for as many
        likely = (sequences > self._expected) & (sequences < last) & (durables >= self._expected) & (durables < sequences)
        for at in np.flatnonzero(likely).tolist():
            if _frame_at(self._data, self._stopped_at + 8 * at, self.salt):
                return self._stopped_at
        return None


def open_file(path: Path, magic: bytes) -> tuple[Reader, int, int]:
    """(reader over its transactions, generation, first sequence). Damaged for a file that cannot be read, or has no header of this kind."""
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    except (OSError, ValueError) as error:
        raise Damaged(f"{path}: {error}") from error
    generation, first, salt = read_header(data, magic, path)
    return Reader(data, first, salt=salt), generation, first
