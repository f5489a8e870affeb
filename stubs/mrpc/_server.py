"""Servers.

A server's threads are the executor's: `start()` submits long-running loops, each of which waits for a call, runs its handler and
sends the reply itself (native/bind/rpc/server.h tells why). So the executor is the server's while it runs: what else is
submitted to it waits until a loop ends.
"""

from __future__ import annotations

import concurrent.futures.thread
import inspect
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from . import _native
from ._context import ServicerContext
from ._credentials import ServerCredentials
from ._handlers import (
    GenericRpcHandler,
    HandlerCallDetails,
    RpcMethodHandler,
    handlers_by_method,
    unary_unary_rpc_method_handler,
)
from ._interceptors import ServerInterceptor, find_handler
from ._methods import service_info_of_handlers
from ._runtime import identity
from ._status import StatusCode

_WORKERS_DEFAULT = 8
_FOREVER_SECONDS = 1e9

Wrap = Callable[[str, RpcMethodHandler], Any]
"""(path, handler) -> what the native server keeps for the method."""

_running: weakref.WeakSet[Server] = weakref.WeakSet()


def port_of(address: str) -> int:
    """The port that gRPC programs expect back from `add_insecure_port(address)`: the one given, or 1 where none is."""
    port = address.rpartition(":")[2]
    return int(port) if port.isdigit() and int(port) > 0 else 1


class Offer:
    """One service to be offered, with a handler for each of its methods."""

    def __init__(self, info: Any, handlers: dict[str, RpcMethodHandler]) -> None:
        self.info, self.handlers = info, handlers

    @classmethod
    def of_servicer(cls, info: Any, servicer: Any) -> Offer:
        """Methods of `servicer` by name. Streaming methods and those it lacks are left out: the server answers UNIMPLEMENTED."""
        names = {method.path.rpartition("/")[2]: method for method in info.methods}
        unary = {name for name, method in names.items() if not method.client_streaming and not method.server_streaming}
        found = {name: getattr(servicer, name, None) for name in unary}
        return cls(
            info, {name: unary_unary_rpc_method_handler(behavior) for name, behavior in found.items() if behavior is not None}
        )


    def callable_for(self, path: str, wrap: Wrap) -> Callable[..., Any] | None:
        """What serves the method of that path; None when nothing does, or only a streaming behaviour."""
        handler = self.handlers.get(path.rpartition("/")[2])
        return wrap(path, handler) if handler is not None and handler.unary_unary is not None else None


class ServerBase:
    """What sync and async servers have in common: which services they offer, through which interceptors, and how many calls
    at once."""

    def __init__(
        self,
        handlers: Sequence[GenericRpcHandler] | None,
        interceptors: Sequence[Any] | None,
        options: Sequence[tuple[str, Any]] | None,
        maximum_concurrent_rpcs: int | None,
        label: str | None,
    ) -> None:
        given = dict(options or ())
        if label is not None:
            given["mrpc.label"] = label
        if maximum_concurrent_rpcs is not None and maximum_concurrent_rpcs < 1:
            raise ValueError("maximum_concurrent_rpcs must be at least 1, or None for no limit")
        self._calls_max = maximum_concurrent_rpcs or 0
        self._identity = identity(given)
        self._offers: dict[str, Offer] = {}
        self._core: Any = None
        self._interceptors = tuple(interceptors or ())
        self.add_generic_rpc_handlers(handlers or ())

    def add_service(self, service_info: Any, servicer: Any) -> None:
        """Serves `servicer`'s methods; generated `add_XServicer_to_server` calls this. Raises ValueError once started."""
        self._add(Offer.of_servicer(service_info, servicer))

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[GenericRpcHandler]) -> None:
        """gRPC's registration; the handlers must come from `method_handlers_generic_handler`. Raises TypeError, ValueError."""
        for service, handlers in handlers_by_method(generic_rpc_handlers).items():
            self.add_registered_method_handlers(service, handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, RpcMethodHandler]) -> None:
        """As `add_generic_rpc_handlers`, for one service; generated code of newer grpcio-tools calls both."""
        self._add(Offer(service_info_of_handlers(service_name, method_handlers), dict(method_handlers)))

    def add_insecure_port(self, address: str) -> int:
        """Nothing to open: the services are offered on the mesh. Returns the port of `address`, or 1 where it has none."""
        return port_of(address)

    def add_secure_port(self, address: str, server_credentials: ServerCredentials) -> int:
        """As `add_insecure_port`: who calls is told by the daemon, which also secures the wire."""
        return port_of(address)

    def _add(self, offer: Offer) -> None:
        if self._core is not None:
            raise ValueError("services must be added before the server is started")
        self._offers[offer.info.full_name] = offer

    def _attach(self, context_class: type, wrap: Wrap) -> None:
        label, token = self._identity
        core = _native.ServerCore(label, token, context_class, self._calls_max)
        for name, offer in self._offers.items():
            by_path = {method.path: method for method in offer.info.methods}
            methods = [by_path[path] for path in _native.method_paths(offer.info.schema, name)]
            callables = [offer.callable_for(method.path, wrap) for method in methods]
            requests, replies = [method.request_class for method in methods], [method.reply_class for method in methods]
            core.offer(offer.info.schema, name, callables, requests, replies)
        self._core = core


class Server(ServerBase):
    """A server of sync handlers. Make it with `mrpc.server`."""

    def __init__(self, executor: concurrent.futures.Executor | None, *common: Any) -> None:
        super().__init__(*common)
        self._own_executor = executor is None
        self._executor = executor or concurrent.futures.ThreadPoolExecutor(_WORKERS_DEFAULT, thread_name_prefix="mrpc-server")
        self._workers = getattr(self._executor, "_max_workers", _WORKERS_DEFAULT)
        self._stopped = threading.Event()
        self._stopping = threading.Lock()

    def start(self) -> None:
        """Attaches to the daemon, offers the services and begins to serve. Raises RpcError (no daemon, a name that is
        another's), ValueError when started before."""
        if self._core is not None:
            raise ValueError("the server has been started already")
        self._attach(ServicerContext, self._wrap)
        _running.add(self)
        for _ in range(self._workers):
            self._executor.submit(self._core.serve)

    def stop(self, grace: float | None) -> threading.Event:
        """Takes no more calls, and cancels those that run after `grace` seconds (None: at once).

        Returns at once; the event is set when the server has stopped. May be called again, from any thread.
        """
        if self._core is None:
            self._stopped.set()
        elif grace is None:
            self._stop(0.0)
        else:
            threading.Thread(target=self._stop, args=(grace,), name="mrpc-server-stop", daemon=True).start()
        return self._stopped

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped. True when `timeout` seconds ran out first."""
        return not self._stopped.wait(timeout)

    def _stop(self, grace: float) -> None:
        self._core.stop(min(grace, _FOREVER_SECONDS))
        with self._stopping:
            if self._own_executor:
                self._executor.shutdown(wait=False)
            _running.discard(self)
            self._stopped.set()

    def _wrap(self, path: str, handler: RpcMethodHandler) -> Callable[..., Any]:
        """What the native loop calls: the behaviour itself, or the interceptors around it."""
        behavior = handler.unary_unary
        assert behavior is not None
        if inspect.iscoroutinefunction(behavior):
            raise TypeError(f"the handler of {path} is async: serve it with mrpc.aio.server()")
        return self._intercepted(path, handler) if self._interceptors else behavior

    def _intercepted(self, path: str, handler: RpcMethodHandler) -> Callable[..., Any]:
        def serve(request: Any, context: ServicerContext) -> Any:
            details = HandlerCallDetails(path, context.invocation_metadata())
            found = find_handler(self._interceptors, lambda asked: handler if asked.method == path else None, details)
            if found is None or found.unary_unary is None:
                context.abort(StatusCode.UNIMPLEMENTED, f"no handler serves {path} as a unary call")
            return found.unary_unary(request, context)

        return serve

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.stop(None).wait()

    def __del__(self) -> None:
        if getattr(self, "_core", None) is not None and not self._stopped.is_set():
            self.stop(None)


def server(
    executor: concurrent.futures.Executor | None = None,
    handlers: Sequence[GenericRpcHandler] | None = None,
    interceptors: Sequence[ServerInterceptor] | None = None,
    options: Sequence[tuple[str, Any]] | None = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Any = None,
    *,
    name: str | None = None,
) -> Server:
    """A server whose handlers run in `executor` (its own of 8 threads without).

    The executor is the server's while it runs: each of its threads waits for calls. While `maximum_concurrent_rpcs` calls run
    or wait for a thread, more are refused with RESOURCE_EXHAUSTED. `name` is the label shown to operators; `options` as for
    `channel`. Raises ValueError for a limit below 1.
    """
    return Server(executor, handlers, interceptors, options, maximum_concurrent_rpcs, name)


def _stop_all() -> None:
    for one in list(_running):
        one.stop(None)


# Executors join their threads when the interpreter ends, and would wait for ever for loops that serve. Their hook was
# registered when concurrent.futures.thread was imported; hooks run last registered first: this one stops the loops before.
threading._register_atexit(_stop_all)  # type: ignore[attr-defined]
