"""What a database refuses, and why. One small family, mapped to status codes at one edge by `code`.

    DatabaseError
    ├── Invalid          an argument is wrong: shape, range, name, filter, file of another format
    ├── NotFound         it is not there, or the acting tenant may not know that it is
    ├── AlreadyExists    the name is taken
    ├── Denied           the acting tenant can see the point but does not own it
    ├── QuotaExceeded    a limit of the tenant; nothing of the batch was done
    ├── Locked           another process has the directory open
    ├── DiskFull         nothing of the batch was done; goes on when there is room
    ├── Damaged          a file is not what was written: names file, offset, and what to do
    └── Closed           the database was closed, or its log failed and it takes no more writes
"""
from __future__ import annotations

from typing import ClassVar


class DatabaseError(Exception):
    """Base of the family. `code` is the name of the gRPC status that says the same."""

    code: ClassVar[str] = "INTERNAL"


class Invalid(DatabaseError, ValueError):
    code = "INVALID_ARGUMENT"


class NotFound(DatabaseError, LookupError):
    code = "NOT_FOUND"


class AlreadyExists(DatabaseError):
    code = "ALREADY_EXISTS"


class Denied(DatabaseError):
    code = "PERMISSION_DENIED"


class QuotaExceeded(DatabaseError):
    """`retry_after_s` is the time until a rate limit lets the call through, None for a limit that time does not lift."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Locked(DatabaseError):
    code = "FAILED_PRECONDITION"


class DiskFull(DatabaseError):
    code = "RESOURCE_EXHAUSTED"


class Damaged(DatabaseError):
    code = "DATA_LOSS"


class Closed(DatabaseError):
    code = "UNAVAILABLE"
