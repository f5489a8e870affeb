"""`python -m bench.rpc.server SYSTEM GENERATED [ADDRESS] [--aio]`: echoes until it is ended."""

from __future__ import annotations

import argparse
import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.rpc import binding

THREADS = 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=("mrpc", "grpc"))
    parser.add_argument("generated")
    parser.add_argument("address", nargs="?", default="127.0.0.1:0")
    parser.add_argument("--aio", action="store_true")
    flags = parser.parse_args()
    bound = binding.load(flags.system, flags.generated)
    if flags.aio:
        asyncio.run(serve_aio(bound, flags.system, flags.address))
    else:
        serve(bound, flags.system, flags.address)


def serve(bound: binding.Binding, system: str, address: str) -> None:
    class Echo(bound.EchoServicer):
        def Call(self, request: Any, context: Any) -> Any:
            return bound.Payload(data=request.data)

        def Busy(self, request: Any, context: Any) -> Any:
            return bound.Work(busy_ns=be_busy(request.busy_ns))

    server = bound.rpc.server(ThreadPoolExecutor(THREADS), options=bound.options)
    bound.add_to_server(Echo(), server)
    port = server.add_insecure_port(address) if system == "grpc" else 0
    server.start()
    print(f"ready {port}", flush=True)
    server.wait_for_termination()


def be_busy(busy_ns: int) -> int:
    """Computes for at least so long, as a small model would; returns for how long."""
    began = now = time.perf_counter_ns()
    while now - began < busy_ns:
        now = time.perf_counter_ns()
    return now - began


async def serve_aio(bound: binding.Binding, system: str, address: str) -> None:
    class Echo(bound.EchoServicer):
        async def Call(self, request: Any, context: Any) -> Any:
            return bound.Payload(data=request.data)

    server = bound.rpc.aio.server(options=bound.options)
    bound.add_to_server(Echo(), server)
    port = server.add_insecure_port(address) if system == "grpc" else 0
    await server.start()
    print(f"ready {port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    main()
