"""The points of a collection in a snapshot: a file that is mapped and never changed.

One block for each owner, on 8-byte boundaries, little-endian:
    rows u32[n], ascending · keys, lower halves u64[n] · upper halves u64[n] · ends of payloads u64[n] · payloads
Where a block lies, and how large it is, stands in the manifest, with the checksum of the whole file. Nothing of a block
is read before someone asks for it, so that a tenant that rests costs address space only.
"""
from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from .disk import Disk
from .errors import Damaged
from .ids import bitmap, numbers
from .records import pack_keys, pb

if TYPE_CHECKING:
    from .namespace import Frozen, State


def _aligned(size: int) -> int:
    return -size % 8 + size


class Segment:
    """One owner's block. rows: u32[n]. Other columns are read number by number, for which a memoryview is quicker than an array."""

    __slots__ = ("block", "rows", "_every", "_low", "_high", "_ends", "_texts", "_dense_from")

    def __init__(self, block: memoryview, size: int) -> None:
        self.block = block
        self.rows = np.frombuffer(block, "<u4", size)
        at = _aligned(4 * size)
        self._low, self._high, self._ends = (block[at + 8 * size * part:at + 8 * size * (part + 1)].cast("Q") for part in range(3))
        self._texts = block[at + 24 * size:]
        dense = size and int(self.rows[-1]) - int(self.rows[0]) == size - 1
        self._dense_from = int(self.rows[0]) if dense else None
        self._every: BitMap | None = None

    @property
    def every(self) -> BitMap:
        """The rows as a bitmap, not to be changed; made when it is first asked for."""
        if self._every is None:
            self._every = bitmap(self.rows)
        return self._every

    def _position(self, row: int) -> int:
        """Where the row is. LookupError when it is not in it."""
        at = row - self._dense_from if self._dense_from is not None else int(np.searchsorted(self.rows, row))
        if not 0 <= at < len(self._ends) or (self._dense_from is None and self.rows[at] != row):
            raise LookupError(row)
        return at

    def key(self, row: int) -> int:
        """LookupError when the row is not in it."""
        at = self._position(row)
        return self._high[at] << 64 | self._low[at]

    def keys(self) -> list[int]:
        if any(self._high):
            return [high << 64 | low for high, low in zip(self._high.tolist(), self._low.tolist(), strict=True)]
        return self._low.tolist()

    def halves(self, rows: np.ndarray) -> tuple[bytes, bytes]:
        """The lower and upper halves of the keys of rows that are in it, ascending."""
        at = np.searchsorted(self.rows, rows)
        return np.asarray(self._low)[at].tobytes(), np.asarray(self._high)[at].tobytes()

    def payload(self, row: int) -> bytes:
        """LookupError likewise."""
        at = self._position(row)
        return bytes(self._texts[self._ends[at - 1] if at else 0:self._ends[at]])


NOTHING = Segment(memoryview(b""), 0)


class PointsFile:
    """A verified file and where each owner's block lies in it."""

    def __init__(self, path: Path, collection: pb.Collection, *, written_now: bool = False) -> None:
        """Damaged when the file is not the one that the manifest describes, which one written just now is not asked."""
        self._map = mapped(path, collection.points_size, None if written_now else collection.points_crc)
        self._offsets = np.frombuffer(collection.offsets, "<u8")
        self._sizes = np.frombuffer(collection.sizes, "<u8")
        self._payload_bytes = np.frombuffer(collection.payload_bytes, "<u8")
        self._next_rows = np.frombuffer(collection.next_rows, "<u8")
        self._owners = np.frombuffer(collection.owners, "<u4")  # ascending
        self.positions = {owner: at for at, owner in enumerate(self._owners.tolist())}
        self._words = np.frombuffer(self._map, "<u8", len(self._map) // 8)
        self._dense = self._dense_blocks()

    def _dense_blocks(self) -> np.ndarray:
        """For each owner in one row, i64[n, 4]: its number, its rows, its first row, and the word of the file where the keys begin. Of those
        with gaps between rows, as if they had none. A last one that nobody is."""
        rows = np.frombuffer(self._map, "<u4", len(self._map) // 4)
        sizes, starts = self._sizes.astype(np.int64), self._offsets.astype(np.int64) // 4
        some = np.flatnonzero(sizes)
        first, last = rows[starts[some]].astype(np.int64), rows[starts[some] + sizes[some] - 1]
        blocks = np.zeros((len(sizes) + 1, 4), np.int64)
        blocks[:, 0] = [*self._owners, -1]
        blocks[some, 1] = np.where(last - first == sizes[some] - 1, sizes[some], 0)
        blocks[some, 2], blocks[some, 3] = first, starts[some] // 2 + _aligned(4 * sizes[some]) // 8
        return blocks

    def keys(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(u64[n], bool[n]) of index ids u64[n]: their keys, and which of them are to be asked for one by one, since they are not in
        the file, have gaps between rows, or are no u64."""
        if not len(self._words):
            return ids, np.ones(len(ids), bool)
        halves = ids.view("<u4")
        rows, owners = halves[0::2], halves[1::2]
        number, size, first, words = self._dense[np.searchsorted(self._owners, owners)].T
        at = rows - first
        missing = (number != owners) | (at < 0) | (at >= size)
        at += words
        low = self._words.take(at, mode="clip")
        missing |= self._words.take(at + size, mode="clip") != 0  # the upper half
        return low, missing

    def describe(self, owner: int) -> tuple[Segment, int, int]:
        """(segment, next row, bytes of payloads) of an owner; those of nothing for one that is not in it."""
        at = self.positions.get(owner)
        if at is None:
            return NOTHING, 0, 0
        start, size, payload_bytes = int(self._offsets[at]), int(self._sizes[at]), int(self._payload_bytes[at])
        length = _aligned(4 * size) + 24 * size + payload_bytes
        return Segment(self._map[start:start + length], size), int(self._next_rows[at]), payload_bytes


def mapped(path: Path, size: int, crc: int | None) -> memoryview:
    """The file in memory, read only. Damaged when it has not that size and, unless it is None, that checksum."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            if length != size:
                raise Damaged(f"{path}: has {length} bytes, {size} were written")
            data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)) if size else memoryview(b"")
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from error
    if crc is not None and zlib.crc32(data) != crc:
        raise Damaged(f"{path}: the checksum over bytes 0 to {size} is wrong")
    return data


def write_points(disk: Disk, path: Path, namespaces: Iterator[Frozen], collection: pb.Collection) -> None:
    """Writes the file, durably, and says in the manifest's entry what is where. OSError."""
    fd = disk.create(path)
    try:
        at = crc = 0
        columns: list[list[int]] = [[] for _ in range(5)]
        for namespace in namespaces:
            block = block_of(namespace.state)
            crc = zlib.crc32(block, crc)
            for column, value in zip(columns, (namespace.owner, namespace.next_row, namespace.size, at, namespace.payload_bytes), strict=True):
                column.append(value)
            at = disk.write(fd, [block], at)
        disk.sync(fd)
        collection.owners = np.array(columns[0], "<u4").tobytes()
        collection.next_rows, collection.sizes, collection.offsets, collection.payload_bytes = (
            np.array(column, "<u8").tobytes() for column in columns[1:])
        collection.points_size, collection.points_crc = at, crc
    finally:
        os.close(fd)


def block_of(state: State) -> bytes:
    """The points of an owner as a block."""
    if not (state.payloads or state.patched or state.dead):
        return bytes(state.segment.block) + bytes(-len(state.segment.block) % 8)
    rows = numbers(state.rows())
    old, fresh = rows[:(split := int(np.searchsorted(rows, state.first)))], (rows[split:] - np.uint32(state.first)).tolist()
    texts = [*map(state.payload, old.tolist()), *(state.payloads[at] for at in fresh)]
    ends = np.cumsum(np.fromiter(map(len, texts), "<u8", len(texts)), dtype="<u8")
    low, high = state.segment.halves(old)
    new_low, new_high = pack_keys([state.keys[at] for at in fresh])
    new_high = new_high or bytes(len(new_low))
    body = b"".join((rows.tobytes(), bytes(4 * (len(rows) % 2)), low, new_low, high, new_high, ends.tobytes(), *texts))
    return body + bytes(-len(body) % 8)
