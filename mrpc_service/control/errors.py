"""The one edge at which the control plane's errors become status codes."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from mrpc_service.chains.apply import Conflict, Unwritten, WouldDeny
from mrpc_service.errors import ConfigError
from mrpc_service.registry import NameTaken, RegistryError, UnknownName

CODES: list[tuple[type[Exception], Status]] = [
    (NameTaken, Status.ALREADY_EXISTS),
    (UnknownName, Status.NOT_FOUND),
    (RegistryError, Status.INVALID_ARGUMENT),
    (ConfigError, Status.INVALID_ARGUMENT),
    (Conflict, Status.ABORTED),
    (WouldDeny, Status.FAILED_PRECONDITION),
    (Unwritten, Status.RESOURCE_EXHAUSTED),
    (sqlite3.OperationalError, Status.RESOURCE_EXHAUSTED),
    (OSError, Status.INTERNAL),
]

Method = Callable[[Any, Any, int], Awaitable[Any]]


def mapped_errors(method: Method) -> Method:
    """Serves `method` with its errors as statuses."""

    @functools.wraps(method)
    async def serve(servicer: Any, request: Any, operator_uid: int) -> Any:
        try:
            return await method(servicer, request, operator_uid)
        except tuple(kind for kind, _ in CODES) as error:
            code = next(code for kind, code in CODES if isinstance(error, kind))
            hint = "; make room in the state directory, or mend it: 'mrpc status' names it" if isinstance(error, sqlite3.Error) else ""
            raise GRPCError(code, f"{error}{hint}") from None

    return serve
