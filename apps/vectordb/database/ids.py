"""Names of points: what tenants call them, and what is stored.

A tenant names a point by a u64 or a UUID. A *key* is the same as one integer: a u64 itself, a UUID as its 128 bits. A
UUID of the RFC has a version among its upper 64 bits, so its key is never a u64's; the nil UUID is refused.
A *row* is the u32 number of a point among those of its owner, never used twice; owner << 32 | row is its id in the index.
"""
from __future__ import annotations

import hashlib
import re
import struct
from array import array
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import numpy as np
from pyroaring import BitMap

from .errors import Invalid
from .model import PointId

U64 = 2**64
ROWS_MAX = 2**32 - 1
_UUID = re.compile(r"(?:urn:uuid:|\{)?(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32})\}?", re.ASCII | re.IGNORECASE)
"""As Qdrant reads them. Python's UUID takes any 32 characters that int() does, a sign and a space among them."""


def key_of(point_id: Any) -> int:
    """The key of a point's id. Invalid when it is neither a u64 nor the text of a UUID."""
    if isinstance(point_id, str):
        return _uuid_key(point_id)
    if isinstance(point_id, bool | np.bool_) or not isinstance(point_id, int | np.integer) or not 0 <= point_id < U64:
        raise Invalid(f"a point's id is an integer from 0 to 2**64 - 1 or the text of a UUID, not {str(point_id)[:60]!r}")
    return int(point_id)


def _uuid_key(text: str) -> int:
    if not _UUID.fullmatch(text):
        raise Invalid(f"a point's id as text must be a UUID, not {text[:60]!r}")
    key = UUID(text).int
    if key < U64:
        raise Invalid(f"{text[:60]!r} has no version, hence is no UUID for a point")
    return key


def keys_of(ids: Iterable[Any]) -> list[int]:
    """The keys of many ids; an integer array is quickest. Invalid as for key_of."""
    if isinstance(ids, np.ndarray):
        ids = ids.tolist()
    return [i if type(i) is int and 0 <= i < U64 else key_of(i) for i in ids]


def id_of(key: int) -> PointId:
    """The id that the key stands for."""
    return key if key < U64 else str(UUID(int=key))


def bitmap(rows: np.ndarray) -> BitMap:
    """Rows u32[n] as a bitmap, at the speed of a copy."""
    return BitMap(array("I", rows.tobytes()))


def numbers(rows: BitMap) -> np.ndarray:
    """The same back: u32[n], ascending."""
    return np.frombuffer(rows.to_array(), np.uint32)


class Cursors:
    """Seals a position in a scroll into 32 hex digits that tell nothing and cannot be made up.

    A position is an id in the index: its row would tell one tenant how many points another has. It is enciphered
    together with the tenant's number by a Feistel network of four rounds over a keyed hash.
    """

    _BLOCK = struct.Struct("<QQ")
    _WORD = struct.Struct("<Q")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, tenant: int, position: int) -> str:
        left, right = position, tenant
        for step in range(4):
            left, right = right, left ^ self._round(step, right)
        return self._BLOCK.pack(left, right).hex()

    def open(self, tenant: int, cursor: str) -> int:
        """The position. Invalid when the cursor was not sealed for this tenant."""
        try:
            left, right = self._BLOCK.unpack(bytes.fromhex(cursor))
        except (ValueError, TypeError, struct.error):
            raise Invalid("the cursor is not one that scroll gave") from None
        for step in reversed(range(4)):
            left, right = right ^ self._round(step, left), left
        if right != tenant:
            raise Invalid("the cursor is not one that scroll gave to this tenant")
        return left

    def _round(self, step: int, half: int) -> int:
        digest = hashlib.blake2b(self._WORD.pack(half), digest_size=8, key=self._secret, salt=bytes([step]))
        return self._WORD.unpack(digest.digest())[0]
