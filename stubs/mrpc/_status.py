"""Enumerations that gRPC programs know: status codes, compression, connectivity."""

from __future__ import annotations

import enum


class StatusCode(enum.Enum):
    """gRPC's status codes. `value` is `(number, text)`, as in grpcio."""

    OK = (0, "ok")
    CANCELLED = (1, "cancelled")
    UNKNOWN = (2, "unknown")
    INVALID_ARGUMENT = (3, "invalid argument")
    DEADLINE_EXCEEDED = (4, "deadline exceeded")
    NOT_FOUND = (5, "not found")
    ALREADY_EXISTS = (6, "already exists")
    PERMISSION_DENIED = (7, "permission denied")
    RESOURCE_EXHAUSTED = (8, "resource exhausted")
    FAILED_PRECONDITION = (9, "failed precondition")
    ABORTED = (10, "aborted")
    OUT_OF_RANGE = (11, "out of range")
    UNIMPLEMENTED = (12, "unimplemented")
    INTERNAL = (13, "internal")
    UNAVAILABLE = (14, "unavailable")
    DATA_LOSS = (15, "data loss")
    UNAUTHENTICATED = (16, "unauthenticated")


CODE_BY_NUMBER: tuple[StatusCode, ...] = tuple(StatusCode)


def code_from_number(number: int) -> StatusCode:
    """The code of that number; UNKNOWN for numbers that gRPC does not define."""
    return CODE_BY_NUMBER[number] if 0 <= number < len(CODE_BY_NUMBER) else StatusCode.UNKNOWN


class Compression(enum.IntEnum):
    """Accepted where gRPC accepts it. Calls on one host are never compressed: nothing is serialised there."""

    NoCompression = 0
    Deflate = 1
    Gzip = 2


class ChannelConnectivity(enum.Enum):
    """State of a channel, by gRPC's names."""

    IDLE = (0, "idle")
    CONNECTING = (1, "connecting")
    READY = (2, "ready")
    TRANSIENT_FAILURE = (3, "transient failure")
    SHUTDOWN = (4, "shutdown")
