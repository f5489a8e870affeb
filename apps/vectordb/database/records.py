"""Changes as written: protobuf messages whose arrays are bytes, and their columns."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from . import generate

generate.ensure()

from .generated import storage_pb2 as pb  # noqa: E402

__all__ = ["Change", "keys_of", "pack_keys", "pack_payloads", "pack_rows", "payloads_of", "pb", "rows_of", "u64s_of"]

Change = pb.Change


def pack_rows(rows: Sequence[int] | np.ndarray) -> bytes:
    return np.asarray(rows, "<u4").tobytes()


def rows_of(packed: bytes) -> np.ndarray:
    """u32[n]"""
    return np.frombuffer(packed, "<u4")


def u64s_of(packed: bytes) -> np.ndarray:
    """u64[n]"""
    return np.frombuffer(packed, "<u8")


def pack_keys(keys: Sequence[int]) -> tuple[bytes, bytes]:
    """The lower and upper halves of keys; nothing for the upper ones when all are 0."""
    if max(keys, default=0) < 2**64:
        return np.array(keys, "<u8").tobytes(), b""
    low = np.array([key & (2**64 - 1) for key in keys], "<u8")
    return low.tobytes(), np.array([key >> 64 for key in keys], "<u8").tobytes()


def keys_of(low: bytes, high: bytes) -> list[int]:
    lows = u64s_of(low).tolist()
    return [hi << 64 | lo for hi, lo in zip(u64s_of(high).tolist(), lows, strict=True)] if high else lows


def pack_payloads(payloads: Sequence[bytes]) -> tuple[bytes, bytes]:
    """(sizes, texts)"""
    return np.fromiter(map(len, payloads), "<u4", len(payloads)).tobytes(), b"".join(payloads)


def payloads_of(sizes: bytes, texts: bytes) -> list[bytes]:
    ends = np.cumsum(rows_of(sizes), dtype=np.int64).tolist()
    return [texts[start:end] for start, end in pairwise([0, *ends])]
