"""A server of echo.Echo until its standard input ends: `python -m tests.soak.server sync|aio`."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import echo_mrpc
import mrpc

WAIT_S = 60  # longer than any deadline or cancellation of a "wait" lets it run


class Echo(echo_mrpc.EchoServicer):
    """Sends back what it got; "wait" is answered by nobody, it ends when its caller ends it."""

    def Echo(self, request: Any, context: Any) -> Any:
        if request.command == "wait":
            over = threading.Event()
            if context.add_callback(over.set):
                over.wait(WAIT_S)
        return reply_to(request)


class AsyncEcho(echo_mrpc.EchoServicer):
    async def Echo(self, request: Any, context: Any) -> Any:
        if request.command == "wait":
            await asyncio.sleep(WAIT_S)
        return reply_to(request)


def reply_to(request: Any) -> Any:
    return echo_mrpc.EchoReply(text=request.text, payload=request.payload, numbers=request.numbers)


def serve() -> None:
    server = mrpc.server()
    echo_mrpc.add_EchoServicer_to_server(Echo(), server)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(5).wait()


async def serve_async() -> None:
    server = mrpc.aio.server()
    echo_mrpc.add_EchoServicer_to_server(AsyncEcho(), server)
    await server.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(5)


if __name__ == "__main__":
    asyncio.run(serve_async()) if sys.argv[1] == "aio" else serve()
