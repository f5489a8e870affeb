"""What an awaited call raises."""

from __future__ import annotations

from .._errors import STATUS_DETAILS_KEY, CallEnd, Metadatum, RpcError
from .._status import StatusCode


class AioRpcError(RpcError):
    """A call that did not end with OK. Its methods answer at once."""

    def __init__(self, end: CallEnd) -> None:
        super().__init__(end)
        self._end = end

    def code(self) -> StatusCode:
        return self._end.code

    def details(self) -> str:
        return self._end.details

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return self._end.initial

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self._end.trailing

    def status_details(self) -> bytes:
        """Serialised google.rpc.Status that the server attached; empty when it attached none."""
        return next((pair.value for pair in self._end.trailing if pair.key == STATUS_DETAILS_KEY), b"")  # type: ignore[return-value]

    def debug_error_string(self) -> str:
        return f'{self._end.code.name}: "{self._end.details}"'

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
