"""Runs one of the eight processes: `python -m apps.hotel geo --listen ADDRESS --data DIR`.

Addresses are host:port over gRPC and mrpc:///NAME over mRPC. When it serves, the process prints one line, `ready NAME`;
on SIGTERM it finishes what it has begun and ends.
"""
from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

from . import health
from .cache import open_cache
from .colour import call_asyncio, call_blocking, handlers
from .flows import Flows
from .frontend import make_app
from .rpc import rpc
from .service import FRONTEND_NEEDS, SERVICES, Parts

GRACE_S = 2.0


def main() -> None:
    options = parse_options()
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {options.name} %(levelname)s %(message)s")
    try:
        if options.name == "frontend":
            serve_http(options)
        elif options.aio:
            asyncio.run(serve_asyncio(options))
        else:
            serve_blocking(options)
    except rpc.RpcError as error:  # no daemon, or one that refuses
        raise SystemExit(f"{options.name}: {error.details()}") from None


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m apps.hotel", description="One process of the hotel reservation")
    parser.add_argument("name", choices=[*SERVICES, "frontend"])
    parser.add_argument("--listen", required=True, help="where to serve (the frontend: host:port for HTTP)")
    parser.add_argument("--to", action="append", default=[], metavar="NAME=ADDRESS", help="where a needed service is")
    parser.add_argument("--data", type=Path, default=Path(".run/hotel"), help="folder of the SQLite files")
    parser.add_argument("--redis", metavar="URL", help="cache profiles and rates in this Redis")
    parser.add_argument("--aio", action="store_true", help="asyncio server and stubs instead of threads")
    parser.add_argument("--threads", type=int, default=16, help="threads that serve, without --aio")
    options = parser.parse_args()
    options.addresses = dict(pair.split("=", 1) for pair in options.to)
    needs = FRONTEND_NEEDS if options.name == "frontend" else SERVICES[options.name].needs
    missing = [name for name in needs if name not in options.addresses]
    if missing:
        parser.error(f"{options.name} needs --to NAME=ADDRESS for: {', '.join(missing)}")
    return options


def open_stubs(module: Any, addresses: dict[str, str], needs: Iterable[str]) -> dict[str, Any]:
    """A stub for each needed service; module is rpc or rpc.aio."""
    return {name: SERVICES[name].stub(module.insecure_channel(addresses[name])) for name in needs}


def add_servicers(server: Any, options: argparse.Namespace) -> health.Health:
    """Puts the service and its health check on the server."""
    service = SERVICES[options.name]
    call = call_asyncio if options.aio else call_blocking
    stubs = open_stubs(rpc.aio if options.aio else rpc, options.addresses, service.needs)
    servicer = service.servicer(Parts(options.data, open_cache(options.redis), call, stubs))
    service.add_to_server(handlers(servicer, service.methods, aio=options.aio), server)
    check = health.Health(f"hotel.{options.name.capitalize()}")
    health.add_to_server(handlers(check, check.METHODS, aio=options.aio), server)
    server.add_insecure_port(options.listen)
    return check


def serve_blocking(options: argparse.Namespace) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = rpc.server(ThreadPoolExecutor(options.threads))
    check = add_servicers(server, options)
    server.start()
    print("ready", options.name, flush=True)
    stop.wait()
    check.serving = False
    server.stop(GRACE_S).wait()


async def serve_asyncio(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = rpc.aio.server()
    check = add_servicers(server, options)
    await server.start()
    print("ready", options.name, flush=True)
    await stop.wait()
    check.serving = False
    await server.stop(GRACE_S)


class HttpServer(uvicorn.Server):
    """uvicorn, which tells when it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print("ready frontend", flush=True)


def serve_http(options: argparse.Namespace) -> None:
    async def open_flows() -> Flows:
        module, call = (rpc.aio, call_asyncio) if options.aio else (rpc, call_blocking)
        return Flows(open_stubs(module, options.addresses, FRONTEND_NEEDS), call)

    app = make_app(open_flows, threads=0 if options.aio else options.threads)
    config = uvicorn.Config(app, lifespan="on", log_level="warning", access_log=False,
                            timeout_graceful_shutdown=int(GRACE_S))
    HttpServer(config).run(sockets=[listen(options.listen)])


def listen(address: str) -> socket.socket:
    """A socket that several frontend processes can share the port of."""
    host, port = address.rsplit(":", 1)
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((host, int(port)))
    server.listen(1024)
    return server


if __name__ == "__main__":
    main()
