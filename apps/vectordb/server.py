"""The service as a process: a database, its servicers behind one door, health, metrics."""
from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from .database import Database, NotFound, Quota
from .door import Door, Handlers
from .metrics import Collector, Meters
from .scheduler import Scheduler
from .service import SERVICERS
from .transport import OPTIONS, Transport, mesh_modules

GRACE_S = 2.0
PROCESSORS = len(os.sched_getaffinity(0))
THREADS = 96
"""A third of them may wait for a turn to search, half of those for one tenant: 16 calls, and those that run."""
SWITCH_INTERVAL_S = 0.00005
"""How long a thread keeps the interpreter while another wants it: Python's 5 ms would be a flood's large batch before a small search."""


def own_name() -> str:
    """How the mesh calls a process of this user without a token."""
    return f"uid:{os.geteuid()}"


@dataclass(frozen=True)
class Options:
    """admins: tenants that may change collections, tenants and roles. newcomers: quota of tenants that are made at their first
    write, None: they are not. slots: searches at once, one more than processors by default. threads: calls that run, wait or are held.
    weights: shares of tenants in processor time while others wait, 1 for those that are not named. batch_threads: on how many a batch
    of searches runs while no other call does."""
    admins: Collection[str] = field(default_factory=lambda: (own_name(),))
    newcomers: Quota | None = None
    slots: int = PROCESSORS + 1
    threads: int = THREADS
    weights: Mapping[str, float] = field(default_factory=dict)
    batch_threads: int = PROCESSORS

    def weight(self, tenant: str) -> float:
        return self.weights.get(tenant, 1.0)


class Service:
    """`with Service(database, transport, address):` serves until the block ends. address: host:port over gRPC, not looked at over
    mRPC."""

    def __init__(self, database: Database, transport: Transport, address: str = "mesh:0", options: Options | None = None) -> None:
        self._database, self._transport, self._options = database, transport, options or Options()
        self.meters = Meters()
        third, sixth, ninth = (max(2, self._options.threads // part) for part in (3, 6, 9))
        self._reads = Scheduler(self._options.slots, third, self._options.weight, sixth, self._options.batch_threads)
        self._writes = Scheduler(ninth, sixth, self._options.weight, sixth)
        self._health = Health() if transport.system == "mrpc" else None
        self._executor = ThreadPoolExecutor(self._options.threads, thread_name_prefix="vectordb")
        self._server = transport.rpc.server(self._executor, options=OPTIONS)
        self._add_services(transport)
        self.port = self._server.add_insecure_port(address)

    def __enter__(self) -> Service:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._health:
            self._health.serving = False
        self._server.stop(GRACE_S).wait()
        self._executor.shutdown()

    def serve_metrics(self, port: int, host: str = "127.0.0.1") -> int:
        """Prometheus metrics over HTTP from now on; the port, also when 0 was given."""
        registry = CollectorRegistry()
        registry.register(Collector(self.meters, lambda: self._reads.waiting + self._writes.waiting, self._holdings))
        http, _ = start_http_server(port, host, registry)
        return http.server_port

    def _add_services(self, transport: Transport) -> None:
        door = Door(transport, self._reads, self._writes, self.meters)
        for name, make in SERVICERS.items():
            servicer = make(self._database, transport, self._options.admins, self._options.newcomers, self._reads.pace)
            self._offer(name, door.handlers(servicer, servicer.METHODS))
        if self._health:
            mesh_modules()[1].add_HealthServicer_to_server(self._health, self._server)

    def _offer(self, name: str, handlers: Handlers) -> None:
        getattr(self._transport.pb_grpc, f"add_{name}Servicer_to_server")(handlers, self._server)

    def _holdings(self) -> Iterator[tuple[str, str, Any, float | None]]:
        callers = self.meters.tenants()
        for name in self._database.collections():
            for tenant in callers:
                with suppress(NotFound):  # it is no tenant there, or either was dropped meanwhile
                    collection = self._database.collection(name)
                    yield name, tenant, collection.usage(tenant), collection.recall(tenant).recall


class Health:
    """gRPC's health check: SERVING until the server has been told to end."""

    def __init__(self) -> None:
        self._pb = mesh_modules()[0]
        self._names = {"", *(f"vectordb.{name}" for name in SERVICERS)}
        self.serving = True

    def Check(self, request: Any, context: Any) -> Any:
        from mrpc import StatusCode

        if request.service not in self._names:
            context.abort(StatusCode.NOT_FOUND, f"this server offers {', '.join(sorted(self._names)[1:])}, not {request.service!r}")
        statuses = self._pb.HealthCheckResponse
        return statuses(status=statuses.SERVING if self.serving else statuses.NOT_SERVING)
