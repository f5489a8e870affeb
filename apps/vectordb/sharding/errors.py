"""What a router refuses by itself. Refusals of shards are passed on as they are."""
from __future__ import annotations

from typing import Any

from ..database.errors import DatabaseError


class Away(DatabaseError):
    """No replica of the shard that has all acknowledged writes can be reached, or it went away during a write: whether that was done
    is not known then."""

    code = "UNAVAILABLE"


class Cancelled(DatabaseError):
    """Its caller has given up the call."""

    code = "CANCELLED"


class Unsupported(DatabaseError):
    """It cannot be made of the answers of several shards."""

    code = "UNIMPLEMENTED"


class OtherRouter(DatabaseError):
    """Another router has the shard, or the directory."""

    code = "FAILED_PRECONDITION"


def code_of(error: Any) -> str:
    """The name of an RpcError's status."""
    return str(error.code().name)
