"""What a handler is given beside its request: the call, from the server's side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NoReturn

from . import _native
from ._errors import STATUS_DETAILS_KEY, Metadata, Metadatum, RpcContext, Status, as_metadata
from ._runtime import dispatcher
from ._status import Compression, StatusCode, code_from_number

_log = logging.getLogger("mrpc.server")

_NO_CODE = -1


class AbortError(Exception):
    """Raised by `ServicerContext.abort` to leave the handler. The call's status is set already."""


class ContextBase(_native.IncomingCall):
    """What contexts of sync and async handlers have in common. The native base keeps the call's status until the reply goes."""

    _aborted = False
    _read_metadata: tuple[Metadatum, ...] | None = None

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        """The caller's metadata."""
        if self._read_metadata is None:
            self._read_metadata = as_metadata(self._metadata())
        return self._read_metadata

    def set_code(self, code: StatusCode | int) -> None:
        """Ends the call with this status when the handler returns. Any but OK makes the reply be dropped."""
        self._code = code.value[0] if isinstance(code, StatusCode) else code_from_number(code).value[0]

    def set_details(self, details: str) -> None:
        """The status's text."""
        self._details = details

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Metadata to send with the status. Raises nothing here: what cannot be sent ends the call with INTERNAL."""
        rich = [value for key, value in trailing_metadata if key == STATUS_DETAILS_KEY]
        if rich:
            self._rich = bytes(rich[-1])
        self._trailing = tuple((key, value) for key, value in trailing_metadata if key != STATUS_DETAILS_KEY)

    def code(self) -> StatusCode | None:
        """What `set_code` or `abort` set; None before that."""
        return None if self._code == _NO_CODE else code_from_number(self._code)

    def details(self) -> str | None:
        """What `set_details` or `abort` set."""
        return self._details

    def trailing_metadata(self) -> Metadata:
        """What `set_trailing_metadata` set."""
        return self._trailing or ()

    def app(self) -> str | None:
        """The calling application's name, as the daemon has verified it; "NAME@NODE" from another host. None when it told none."""
        return self._attribute("mrpc-app")

    def tenant(self) -> str | None:
        """On whose behalf the call is made, as the daemon has verified it: a tenant that operators let the caller name in metadata
        `mrpc-tenant`, else the caller's own name. None when the daemon told none."""
        return self._attribute("mrpc-tenant")

    def peer(self) -> str:
        """The calling application, as the daemon knows it: "mrpc:NAME"."""
        return "mrpc:" + (self._attribute("mrpc-app") or "unknown")

    def peer_identity_key(self) -> str | None:
        """Under which key `peer_identities` were found."""
        return "mrpc-app" if self._attribute("mrpc-app") else None

    def peer_identities(self) -> list[bytes] | None:
        """The calling application's verified name; None when the daemon told none."""
        name = self._attribute("mrpc-app")
        return [name.encode()] if name else None

    def auth_context(self) -> Mapping[str, list[bytes]]:
        """`peer_identities` by key, as grpcio's."""
        identities = self.peer_identities()
        return {"mrpc-app": identities} if identities else {}

    def set_compression(self, compression: Compression) -> None:
        """Accepted: nothing on a host is serialised, so nothing is compressed."""

    def disable_next_message_compression(self) -> None:
        """Accepted, as `set_compression`."""

    def _set_abort(self, code: StatusCode, details: str, trailing_metadata: Metadata) -> None:
        if code is StatusCode.OK:
            _log.error("abort() was called with StatusCode.OK; the call ends with UNKNOWN")
            code, details = StatusCode.UNKNOWN, ""
        self._aborted = True
        self.set_code(code)
        self.set_details(details)
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)

    def _failed(self, error: BaseException) -> None:
        """The handler raised `error`: the call gets a status, and the log a traceback."""
        if self._aborted:
            return
        _log.error("the handler of %s raised", self._path, exc_info=error)
        if self._code in (_NO_CODE, 0):
            self.set_code(StatusCode.UNKNOWN)
        if not self._details:
            self.set_details(f"Exception calling application: {error}")


class ServicerContext(ContextBase, RpcContext):
    """The call that a handler serves, by gRPC's names. Used by the handler's thread and others."""

    def abort(self, code: StatusCode, details: str) -> NoReturn:
        """Ends the call with this status, by raising an exception that the handler must let pass."""
        self._set_abort(code, details, ())
        raise AbortError(f"{code.name}: {details}")

    def abort_with_status(self, status: Status) -> NoReturn:
        """As `abort`, with trailing metadata and details: takes what grpc_status.rpc_status.to_status makes."""
        self._set_abort(status.code, status.details, status.trailing_metadata or ())
        raise AbortError(f"{status.code.name}: {status.details}")

    def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Sends metadata at once, before the reply. Raises ValueError, TypeError, RpcError."""
        self._send_initial_metadata(initial_metadata)

    def is_active(self) -> bool:
        """False once the call has ended: replied to, cancelled, or past its deadline."""
        return not self._ended and not self._cancelled()

    def cancel(self) -> None:
        """Ends the call with CANCELLED."""
        if not self._ended:
            self.set_code(StatusCode.CANCELLED)
            self._finish(None)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Runs `callback()` when the call ends, also while the handler still runs. False when it has ended."""
        if not self.is_active():
            return False
        if self._on_end is None:
            runner = dispatcher()
            token = runner.register(self._run_callbacks)
            self._on_end = [lambda: runner.forget(token)]
            self._on_end.append(callback)
            self._notify_cancel(runner.queue, token)
        else:
            self._on_end.append(callback)
        return True
