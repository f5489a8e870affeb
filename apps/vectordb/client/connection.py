"""A client's way to the service: stubs, for whom it calls, how long it waits."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Self

import numpy as np

from .. import transport
from .encode import Encoder

TIMEOUT_S = 10.0


class Connection:
    """url: "mrpc:///APP" for the service of one app on the mesh; without, whoever offers it; host:port over gRPC.
    tenant: for whom to call, where operators granted that (act_as); without, for the calling app itself.
    timeout: seconds that a call may take. Usable by any number of threads."""

    def __init__(self, url: str | None = None, *, tenant: str = "", timeout: float = TIMEOUT_S, system: str = "mrpc") -> None:
        self._transport = transport.load(system)
        if url is None and system != "mrpc":
            raise ValueError("over gRPC a client needs the server's host:port")
        self._pb, self._own, self._timeout_s = self._transport.pb, tenant, timeout
        self._metadata = ((transport.TENANT_KEY, tenant),) if tenant else None
        # mRPC takes arrays as they are, and those of mrpc.empty without a copy.
        self._encoder = Encoder(self._pb, np.ndarray.tobytes if system == "grpc" else np.asarray)
        self._channels = ExitStack()
        self._points, self._collections, self._tenants = (self._stub(name, url) for name in ("Points", "Collections", "Tenants"))

    def close(self) -> None:
        self._channels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stub(self, service: str, url: str | None) -> Any:
        channel = self._transport.rpc.insecure_channel(url or f"mrpc:///vectordb.{service}", transport.OPTIONS)
        return getattr(self._transport.pb_grpc, f"{service}Stub")(self._channels.enter_context(channel))

    def _call(self, method: Any, request: Any) -> Any:
        return method(request, timeout=self._timeout_s, metadata=self._metadata)
