"""The sparse vectors of a collection in a snapshot: one file, for each name in the order of the settings:

    vectors, numbers: two u64 · index ids u64[n], ascending · sizes u32[n] · indices u32[z] · values f32[z] · zeros up to 8 bytes

How large it is stands in the manifest, with its checksum. It is read when the collection is: searches need it in memory.
"""
from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..disk import Disk
from ..model import SparseColumns, SparseParams
from ..records import pb
from ..segments import mapped
from .index import SparseIndex
from .store import Frozen, Store

_HEAD = struct.Struct("<QQ")


def write(disk: Disk, path: Path, frozen: Iterable[Frozen], entry: pb.Collection) -> None:
    """Writes the file, durably, and says in the manifest's entry what it is. OSError."""
    fd = disk.create(path)
    try:
        at = crc = 0
        for block in map(_block, frozen):
            crc = zlib.crc32(block, crc)
            at = disk.write(fd, [block], at)
        disk.sync(fd)
        entry.sparse_size, entry.sparse_crc = at, crc
    finally:
        os.close(fd)


def _block(frozen: Frozen) -> bytes:
    ids, columns = frozen.columns()
    body = b"".join((_HEAD.pack(len(ids), len(columns.indices)), ids.tobytes(), *(column.tobytes() for column in columns)))
    return body + bytes(-len(body) % 8)


def load(path: Path, params: dict[str, SparseParams], entry: pb.Collection) -> dict[str, SparseIndex]:
    """What write() wrote, by name; nothing at all for a collection of before there was such a file. Damaged."""
    stores = _stores(mapped(path, entry.sparse_size, entry.sparse_crc)) if entry.sparse_size else iter(())
    return {name: SparseIndex(each, next(stores, None)) for name, each in params.items()}


def _stores(file: memoryview) -> Iterator[Store]:
    at = 0
    while at < len(file):
        count, numbers = _HEAD.unpack_from(file, at)
        at += _HEAD.size
        columns = []
        for kind, length in (("<u8", count), ("<u4", count), ("<u4", numbers), ("<f4", numbers)):
            columns.append(np.frombuffer(file, kind, length, at))
            at += columns[-1].nbytes
        at += -at % 8
        yield Store.of(columns[0], SparseColumns(*columns[1:]))
