"""One process of a shard, as its router calls it."""
from __future__ import annotations

import threading
from typing import Any

from mrpc import FutureCancelledError

from .. import transport
from . import wire
from .errors import Cancelled

JOIN_TIMEOUT_S = 25.0  # longer than a gate's drain
SERVICES = ("Points", "Collections", "Tenants", "Replica")


class Replica:
    """app: its name on the mesh. is_serving: it is of this router's epoch, and has not failed since. open: calls that it works on."""

    def __init__(self, app: str, rpc: Any) -> None:
        self.app, self.is_serving, self.open, self.reads = app, False, 0, 0
        self.transfers = threading.Lock()
        """Held for an export or import: a shard keeps one of each for a caller."""
        self._channel = rpc.insecure_channel(f"mrpc:///{app}", transport.OPTIONS)
        stubs = wire.load().pb_grpc
        self._stubs = {name: getattr(stubs, f"{name}Stub")(self._channel) for name in SERVICES}
        self._counting = threading.Lock()
        self._epoch = 0

    def begin(self, method: str, request: Any, tenant: str, timeout_s: float | None) -> Asked:
        """Starts a call. method: such as "Points.Search". tenant: for whom; "" for the router itself."""
        service, _, name = method.partition(".")
        metadata = ((wire.EPOCH_KEY, str(self._epoch)), *(((wire.TENANT_KEY, tenant),) if tenant else ()))
        return Asked(self, getattr(self._stubs[service], name).future(request, timeout=timeout_s, metadata=metadata))

    def join(self, router: str, epoch: int, empty: bool) -> None:
        """Begins an epoch of the shard, with no collections in it if so wanted. RpcError."""
        request = wire.load().pb.JoinRequest(router=router, epoch=epoch, empty=empty)
        self._stubs["Replica"].Join(request, timeout=JOIN_TIMEOUT_S)
        self._epoch = epoch

    def close(self) -> None:
        self._channel.close()

    def count(self, change: int) -> None:
        with self._counting:
            self.open += change


class Asked:
    """A call of a replica that runs."""

    def __init__(self, replica: Replica, future: Any) -> None:
        self._replica, self._future, self._is_open = replica, future, True
        replica.count(1)

    def result(self) -> Any:
        """The reply, once. RpcError; Cancelled."""
        try:
            return self._future.result()
        except FutureCancelledError:
            raise Cancelled("the call was cancelled") from None
        finally:
            self._close()

    def abandon(self) -> None:
        """Cancels it, if nobody has waited for its end."""
        if self._is_open:
            self.cancel()
            self._close()

    def _close(self) -> None:
        self._is_open = False
        self._replica.count(-1)

    def cancel(self) -> None:
        if not self._future.done():
            self._future.cancel()
