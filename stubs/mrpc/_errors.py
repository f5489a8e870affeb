"""What a call can raise, and the interfaces that a finished or running call shows (gRPC's names)."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from ._status import StatusCode, code_from_number

STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key under which gRPC's rich error model (grpc_status.rpc_status) looks for google.rpc.Status."""


class Metadatum(NamedTuple):
    """One pair of metadata. `value` is bytes when `key` ends in "-bin"."""

    key: str
    value: str | bytes


Metadata = Sequence[tuple[str, "str | bytes"]]


def as_metadata(pairs: Metadata) -> tuple[Metadatum, ...]:
    return tuple(Metadatum(key, value) for key, value in pairs)


class RpcError(Exception):
    """A call that did not end with StatusCode.OK. What calls raise is also a `Call`: it has `code()` and `details()`."""


class FutureTimeoutError(Exception):
    """The time given to `Future.result` and its like ran out before the call ended."""


class FutureCancelledError(Exception):
    """The result of a call was asked for that has been cancelled on this side."""


class RpcContext(abc.ABC):
    """What both sides can ask about a call that runs."""

    @abc.abstractmethod
    def is_active(self) -> bool:
        """True until the call has ended."""

    @abc.abstractmethod
    def time_remaining(self) -> float | None:
        """Seconds to the deadline, not below 0; None when the call has no deadline."""

    @abc.abstractmethod
    def cancel(self) -> Any:
        """Cancels the call on both sides. Does nothing when it has ended."""

    @abc.abstractmethod
    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Runs `callback()` when the call ends. False when it has ended already: then it is not run."""


class Call(RpcContext):
    """A call, from the caller's side."""

    @abc.abstractmethod
    def initial_metadata(self) -> tuple[Metadatum, ...]:
        """What the server sent before its reply. Waits for it."""

    @abc.abstractmethod
    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        """What the server sent with its status. Waits for it."""

    @abc.abstractmethod
    def code(self) -> StatusCode:
        """The status. Waits for the call's end."""

    @abc.abstractmethod
    def details(self) -> str:
        """The status's text. Waits for the call's end."""


class Future(abc.ABC):
    """A computation that ends later, by gRPC's names."""

    @abc.abstractmethod
    def cancel(self) -> bool:
        """Tries to cancel. False when it has ended already."""

    @abc.abstractmethod
    def cancelled(self) -> bool:
        """True when it was cancelled on this side before it ended."""

    @abc.abstractmethod
    def running(self) -> bool:
        """True until it has ended."""

    @abc.abstractmethod
    def done(self) -> bool:
        """True once it has ended, in whatever way."""

    @abc.abstractmethod
    def result(self, timeout: float | None = None) -> Any:
        """The value. Raises what it failed with, FutureTimeoutError after `timeout` seconds, FutureCancelledError."""

    @abc.abstractmethod
    def exception(self, timeout: float | None = None) -> Exception | None:
        """What it failed with, None when it did not. Raises FutureTimeoutError, FutureCancelledError."""

    @abc.abstractmethod
    def traceback(self, timeout: float | None = None) -> Any:
        """The traceback of `exception()`. Raises as it does."""

    @abc.abstractmethod
    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Runs `fn(self)` once it has ended; at once when it has."""


class Status(abc.ABC):
    """A status to end a call with: `ServicerContext.abort_with_status`. grpc_status.rpc_status.to_status makes one."""

    code: StatusCode
    details: str
    trailing_metadata: Metadata | None


class CallEnd:
    """How a call ended: the state behind errors and finished calls."""

    __slots__ = ("code", "details", "initial", "trailing")

    def __init__(
        self, code: StatusCode, details: str, initial: Metadata = (), trailing: Metadata = (), rich: bytes = b""
    ) -> None:
        self.code = code
        self.details = details
        self.initial = as_metadata(initial)
        self.trailing = as_metadata(trailing)
        if rich:
            self.trailing += (Metadatum(STATUS_DETAILS_KEY, rich),)


class EndedCallError(RpcError):
    """What the errors of waiting and of awaited calls share: how the call ended."""

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


class EndedCall(Call, Future):
    """What calls have in common that are over, well or not, when the program is given them."""

    __slots__ = ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> None:
        return None

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        fn(self)


class CallError(EndedCallError, EndedCall):
    """What an unsuccessful call raises. It is an RpcError, and a finished Call and Future, as grpcio's is."""

    def cancelled(self) -> bool:
        return self._end.code is StatusCode.CANCELLED

    def result(self, timeout: float | None = None) -> NoReturn:
        raise self

    def exception(self, timeout: float | None = None) -> CallError:
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        return self.__traceback__

    def __str__(self) -> str:
        return f"{self._end.code.name}: {self._end.details}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __reduce__(self) -> Any:
        end = self._end
        return _rebuild, (type(self), end.code, end.details, tuple(map(tuple, end.initial)), tuple(map(tuple, end.trailing)))


def _rebuild(cls: type[CallError], code: StatusCode, details: str, initial: Metadata, trailing: Metadata) -> CallError:
    return cls(CallEnd(code, details, initial, trailing))


def error_from_native(number: int, details: str, initial: Metadata, trailing: Metadata, rich: bytes) -> CallError:
    """Called by the native multi-callable when a call ends with another status than OK."""
    return CallError(CallEnd(code_from_number(number), details, initial, trailing, rich))
