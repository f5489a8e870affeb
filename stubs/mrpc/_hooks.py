"""Lends the native half what it builds in Python. Importing this module wires the two halves; `mrpc/__init__.py` does."""

from __future__ import annotations

from typing import Any

from . import _native
from ._credentials import CallCredentials
from ._errors import CallEnd, Metadata, error_from_native
from ._future import RpcFuture
from ._interceptors import FinishedCall
from ._status import StatusCode
from ._waiting import WaitingCall


def _finished_call(reply: Any, initial: Metadata, trailing: Metadata) -> FinishedCall:
    return FinishedCall(reply, CallEnd(StatusCode.OK, "", initial, trailing))


def _add_credentials(
    channel: CallCredentials | None, call: CallCredentials | None, path: str, metadata: Metadata | None
) -> list[tuple[str, str | bytes]]:
    added = [pair for one in (channel, call) if one is not None for pair in one.metadata_for(path)]
    return [*(metadata or ()), *added]


_native.configure_rpc(error_from_native, _finished_call, _add_credentials, RpcFuture, WaitingCall)
