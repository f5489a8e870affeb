"""Exports and imports under way: files that travel in pieces, one call each.

A transfer is named by a secret and belongs to the tenant that began it; its cursor is the secret and the position. A tenant has
one transfer at a time, a new one ends the one before, so that nobody can fill the disk with what he has begun; those that
nobody goes on with leave when the next one begins.
"""
from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from .database.errors import Damaged, Invalid, QuotaExceeded

PIECE_BYTES = 4 << 20
TRANSFERS_MAX = 64
IDLE_MAX_S = 300.0


@dataclass
class Transfer:
    file: BinaryIO
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    lock: threading.Lock = field(default_factory=threading.Lock)
    used_s: float = 0.0

    @property
    def path(self) -> Path:
        return Path(self.file.name)

    def cursor(self) -> str:
        """Of the next piece."""
        return f"{self.secret}.{self.file.tell()}"


class Transfers:
    """Of one direction. bytes_max: of one transfer. Thread-safe."""

    def __init__(self, bytes_max: int = 1 << 36, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_max, self._clock = bytes_max, clock
        self._guard = threading.Lock()
        self._transfers: dict[str, Transfer] = {}

    def begin(self, tenant: str) -> Transfer:
        """An empty file. QuotaExceeded when too many transfers are under way."""
        with self._guard:
            late = [each for each, transfer in self._transfers.items() if self._clock() - transfer.used_s > IDLE_MAX_S]
            for each in {*late, tenant} & self._transfers.keys():
                self._transfers.pop(each).file.close()
            if len(self._transfers) >= TRANSFERS_MAX:
                raise QuotaExceeded("too many exports or imports are under way; try again later")
            file = tempfile.NamedTemporaryFile(prefix="vectordb-")  # noqa: SIM115 (it lives as long as the transfer)
            transfer = self._transfers[tenant] = Transfer(file, used_s=self._clock())
        return transfer

    def find(self, tenant: str, cursor: str) -> Transfer:
        """The tenant's transfer, at the position of the cursor. Invalid for any other cursor."""
        transfer = self._transfers.get(tenant)
        if transfer is None or transfer.file.closed or not secrets.compare_digest(cursor.encode(), transfer.cursor().encode()):
            raise Invalid("the cursor is not that of the transfer's next piece: begin anew")
        transfer.used_s = self._clock()
        return transfer

    def end(self, tenant: str, transfer: Transfer) -> None:
        with self._guard:
            if self._transfers.get(tenant) is transfer:
                del self._transfers[tenant]
            transfer.file.close()

    def read(self, tenant: str, transfer: Transfer) -> tuple[bytes, str]:
        """A piece, and the cursor of the next: "" after the last, which ends the transfer."""
        with transfer.lock:
            piece = transfer.file.read(PIECE_BYTES)
            more = len(piece) == PIECE_BYTES and transfer.file.peek(1)
        if more:
            return piece, transfer.cursor()
        self.end(tenant, transfer)
        return piece, ""

    def receive(self, tenant: str, request: Any, bring: Callable[[Path], int]) -> tuple[int, str]:
        """Takes the piece of an ImportRequest: (0, the cursor of the next), or behind the last one (what bring() makes of the file, "").
        Invalid for what is no export."""
        transfer = self.find(tenant, request.cursor) if request.cursor else self.begin(tenant)
        following = self.write(transfer, request.piece)
        if not request.last:
            return 0, following
        try:
            transfer.file.flush()
            return bring(transfer.path), ""
        except Damaged as error:  # it came from the caller, and where we keep it is not his business
            raise Invalid(str(error).replace(str(transfer.path), "the import")) from None
        finally:
            self.end(tenant, transfer)

    def write(self, transfer: Transfer, piece: bytes) -> str:
        """The cursor of the next piece. Invalid when it grows too long."""
        with transfer.lock:
            if transfer.file.tell() + len(piece) > self._bytes_max:
                raise Invalid(f"an import is at most {self._bytes_max} bytes long")
            transfer.file.write(piece)
            return transfer.cursor()
