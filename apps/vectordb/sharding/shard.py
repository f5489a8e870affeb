"""A shard's process: the service as it is, under the names of shard.proto, behind a gate."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from ..database import Database
from ..door import Handlers
from ..server import Options, Service
from ..statuses import Refusals
from ..transport import load
from . import wire
from .gate import Gate


class Shard(Service):
    """`with Shard(database, folder, router):` serves the app of that name until the block ends. folder: the database's."""

    def __init__(self, database: Database, folder: Path, router: str, options: Options) -> None:
        transport = load("mrpc")
        self._gate = Gate(router, database, folder, transport.rpc.StatusCode)
        self._refusals, self._empty = Refusals(transport.rpc), transport.pb.Empty
        super().__init__(database, transport, options=options)
        wire.load().pb_grpc.add_ReplicaServicer_to_server(self, self._server)

    def Join(self, request: Any, context: Any) -> Any:
        def join() -> Any:
            try:
                self._gate.join(request.router, request.epoch, request.empty)
            except Exception as error:
                self._refusals.end(context, *self._refusals.status_of(error))
            return self._empty()

        return self._gate.joining(context, join)

    def _offer(self, name: str, handlers: Handlers) -> None:
        getattr(wire.load().pb_grpc, f"add_{name}Servicer_to_server")(handlers.within(self._gate.guarded), self._server)
