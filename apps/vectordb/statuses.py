"""What went wrong, as callers are told: the one place where errors become status codes.

A status carries google.rpc.ErrorInfo: a reason in upper case, the domain "vectordb", and figures for programs. Errors that
are nobody's fault but ours are logged, and callers learn nothing of them.
"""
from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NoReturn

from .database.errors import DatabaseError
from .scheduler import HOLD_S, QueueFull, WaitedTooLong
from .transport import mesh_modules

DOMAIN = "vectordb"
TYPE_URL = "type.googleapis.com/google.rpc.ErrorInfo"
DETAILS_KEY = "grpc-status-details-bin"

log = logging.getLogger(__name__)


class NotAllowed(Exception):
    """The caller is no administrator, or has told no tenant."""


def only_admins(admins: Collection[str], tenant: str) -> None:
    """NotAllowed for a tenant that is none of them."""
    if tenant not in admins:
        raise NotAllowed(f"{tenant!r} is no administrator of this service: ask its operator for --admin {tenant}")


def describe(error: Exception) -> tuple[str, str, str, dict[str, str]]:
    """(status code's name, text, reason, figures)."""
    if isinstance(error, DatabaseError):
        pause_s = getattr(error, "retry_after_s", None)
        return error.code, str(error), _upper(type(error).__name__), {} if pause_s is None else {"retry_after_s": f"{pause_s:.3f}"}
    if isinstance(error, QueueFull):
        text = "too many calls of this tenant wait already; retry after a pause"
        return "RESOURCE_EXHAUSTED", text, "QUEUE_FULL", {"retry_after_s": f"{HOLD_S:.3f}"}
    if isinstance(error, WaitedTooLong):
        return "DEADLINE_EXCEEDED", "the deadline passed while the call waited for its turn", "WAITED_TOO_LONG", {}
    if isinstance(error, NotAllowed):
        return "PERMISSION_DENIED", str(error), "NOT_ALLOWED", {}
    log.error("a call failed", exc_info=error)
    return "INTERNAL", "internal error; the service's log has it", "INTERNAL", {}


class Refusals:
    """For one transport. rpc: the module mrpc or grpc."""

    def __init__(self, rpc: Any) -> None:
        self._codes, self._failures = rpc.StatusCode, rpc.RpcError
        self._errors = mesh_modules()[2]

    def status_of(self, error: Exception) -> tuple[str, str, bytes]:
        """(code's name, text, serialised google.rpc.Status). What another service refused passes through as it is."""
        if isinstance(error, self._failures):
            code, text, reason, figures = error.code().name, error.details() or "", "", {}
            if rich := next((value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY), None):
                return code, text, bytes(rich)
        else:
            code, text, reason, figures = describe(error)
        return code, text, self._rich(self._codes[code].value[0], text, reason, figures)

    def end(self, context: Any, code: str, text: str, rich: bytes) -> NoReturn:
        """Ends the call with that status."""
        context.set_trailing_metadata(((DETAILS_KEY, rich),))
        context.abort(self._codes[code], text)

    def _rich(self, number: int, text: str, reason: str, figures: dict[str, str]) -> bytes:
        status = self._errors.Status(code=number, message=text)
        if reason:
            info = self._errors.ErrorInfo(reason=reason, domain=DOMAIN, metadata=figures)
            status.details.add(type_url=TYPE_URL, value=info.SerializeToString())
        return status.SerializeToString()


def _upper(name: str) -> str:
    """NotFound: NOT_FOUND."""
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in name).lstrip("_").upper()
