"""What an awaited call raises."""

from __future__ import annotations

from .._errors import EndedCallError


class AioRpcError(EndedCallError):
    """A call that did not end with OK. Its methods answer at once."""

    def __str__(self) -> str:
        return f"{self._end.code.name}: {self._end.details}"

    __repr__ = __str__

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._end,)


class UsageError(Exception):
    """The API was used in a way that it does not allow."""


class InternalError(Exception):
    """By gRPC's name; mrpc reports its own faults as RpcError with StatusCode.INTERNAL."""


class AbortError(Exception):
    """Raised by `ServicerContext.abort` to leave the handler. The call's status is set already."""
