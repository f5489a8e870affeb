"""The way in for every call: who calls, its turn, the work, the account, and the status when it fails."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter_ns, thread_time_ns
from typing import Any

from .metrics import Meters
from .scheduler import Scheduler
from .statuses import NotAllowed, Refusals
from .transport import Transport

Method = Callable[[str, Any], Any]
"""(tenant, request) -> reply."""
Handler = Callable[[Any, Any], Any]
"""(request, context) -> reply."""

READS = frozenset((
    "Search", "Fuse", "SearchGroups", "Facet", "ListIndexes", "Get", "Scroll", "Count", "List", "Describe", "Usage", "Recall", "Export"))


class Handlers:
    """What a generated add_XServicer_to_server takes: an attribute for each method."""

    def __init__(self, methods: Iterable[tuple[str, Handler]]) -> None:
        vars(self).update(methods)

    def within(self, around: Callable[[Handler], Handler]) -> Handlers:
        """The same, each inside of what around() makes of it."""
        return Handlers((name, around(serve)) for name, serve in vars(self).items())


class Door:
    """Reads and writes take their turns apart: writes wait for the disk, and need no processor meanwhile."""

    def __init__(self, transport: Transport, reads: Scheduler, writes: Scheduler, meters: Meters) -> None:
        self._transport, self._reads, self._writes, self._meters = transport, reads, writes, meters
        self._refusals = Refusals(transport.rpc)

    def handlers(self, servicer: Any, names: Iterable[str]) -> Handlers:
        """The servicer's methods as the server calls them."""
        return Handlers((name, self._handler(name, getattr(servicer, name), self._reads if name in READS else self._writes)) for name in names)

    def _handler(self, name: str, method: Method, scheduler: Scheduler) -> Handler:
        tenant_of, meters = self._transport.tenant, self._meters

        def serve(request: Any, context: Any) -> Any:
            began_ns, cost_ns, code, tenant = perf_counter_ns(), 0, "OK", ""
            try:
                tenant = tenant_of(context)
                if not tenant:
                    raise NotAllowed("nobody has told on whose behalf the call is made")
                line = scheduler.enter(tenant, context.time_remaining)
                cpu_ns = thread_time_ns()
                try:
                    return method(tenant, request)
                finally:
                    cost_ns = thread_time_ns() - cpu_ns
                    scheduler.leave(line, cost_ns)
            except Exception as error:
                code, text, rich = self._refusals.status_of(error)
                self._refusals.end(context, code, text, rich)
            finally:
                meters.count(tenant, name, code, perf_counter_ns() - began_ns, cost_ns)

        return serve
