"""The router as a process."""
from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mrpc import RpcError

from ..database import Quota
from ..door import Door
from ..metrics import Meters
from ..scheduler import Scheduler
from ..server import GRACE_S, SWITCH_INTERVAL_S, THREADS, Health
from ..transport import OPTIONS, load, mesh_modules
from . import calls, moving, wire
from .errors import OtherRouter, code_of
from .group import Group
from .ledger import Ledger
from .moving import Router
from .order import Order
from .replica import Replica
from .router import Cluster, Collections, Points
from .tenants import Tenants

CLEAR_S = 1.0
log = logging.getLogger(__name__)


class RouterServer:
    """`with RouterServer(folder, shards, admins):` offers the service until the block ends. folder: of the ledger. shards: by name the apps of its
    replicas. newcomers: as of server.Options.

    Locked when another router has the folder; OtherRouter when it has a shard.
    """

    def __init__(self, folder: Path, shards: Mapping[str, list[str]], admins: Collection[str], newcomers: Quota | None = None,
                 threads: int = THREADS) -> None:
        transport = load("mrpc")
        self._ledger, self._stop = Ledger(folder), threading.Event()
        try:
            self._ledger.check_shards(shards)
            changing = Order()
            groups = {name: Group(name, [Replica(app, transport.rpc) for app in apps], self._ledger, changing) for name, apps in shards.items()}
        except BaseException:
            self._ledger.close(clean=self._ledger.was_clean)
            raise
        self.cluster = Cluster(groups, self._ledger, changing, admins, newcomers)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="router")
        self._server = transport.rpc.server(self._executor, options=OPTIONS)
        self._health, self.meters = Health(), Meters()
        # Calls wait for shards here, so that as many may be at work as there are threads; two thirds of them for reads.
        third, sixth = max(2, threads // 3), max(2, threads // 6)
        door = Door(transport, Scheduler(third, third, held_max=sixth), Scheduler(sixth, sixth, held_max=sixth), self.meters)
        for servicer, stubs in ((Points, transport), (Collections, transport), (Tenants, transport), (Router, wire.load())):
            self._offer(stubs.pb_grpc, servicer(self.cluster), door)
        mesh_modules()[1].add_HealthServicer_to_server(self._health, self._server)
        self._clearer = threading.Thread(target=self._clear, name="leftovers", daemon=True)

    def _offer(self, stubs: Any, servicer: Any, door: Door) -> None:
        handlers = door.handlers(servicer, servicer.METHODS).within(calls.kept)
        getattr(stubs, f"add_{type(servicer).__name__}Servicer_to_server")(handlers, self._server)

    def __enter__(self) -> RouterServer:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            for group in self.cluster.groups.values():
                group.start()
            self._server.start()
        except RpcError as error:
            self._end(clean=self._ledger.was_clean)
            if code_of(error) == "FAILED_PRECONDITION":
                raise OtherRouter(str(error)) from None
            raise
        self._clearer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._health.serving = False
        self._server.stop(GRACE_S).wait()
        self._executor.shutdown()
        self._stop.set()
        self._clearer.join()
        self._end(clean=True)

    def _end(self, *, clean: bool) -> None:
        for group in self.cluster.groups.values():
            group.stop()
        self._ledger.close(clean)

    def _clear(self) -> None:
        """Deletes what moves left that did not come to their end."""
        while not self._stop.wait(CLEAR_S):
            try:
                if self._ledger.leftovers():
                    with self.cluster.changing.alone():
                        moving.clear(self.cluster)
            except Exception as error:  # a shard that is away; later
                log.info("points that a move left are still there: %s", error)
