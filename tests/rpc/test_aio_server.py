"""Servers of asyncio programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import mrpc
import pytest


class AsyncEcho:
    """Handlers of both kinds, for the async server."""

    def __init__(self, echo: Any) -> None:
        self._echo = echo
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()

    async def Echo(self, request: Any, context: Any) -> Any:
        if request.command == "abort":
            await context.abort(mrpc.StatusCode.NOT_FOUND, "no such " + request.text)
        if request.command == "raise":
            raise KeyError(request.text)
        if request.command == "metadata":
            await context.send_initial_metadata([("first", "1")])
            context.set_trailing_metadata([("last", str(dict(context.invocation_metadata())["key"]))])
        if request.command == "wait":
            self.entered.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        await asyncio.sleep(0)
        return self._echo.EchoReply(text=request.text)

    def Missing(self, request: Any, context: Any) -> Any:
        if request.command == "abort":
            context.abort(mrpc.StatusCode.ABORTED, "from a thread")
        return self._echo.EchoReply(text=threading.current_thread().name)


@pytest.fixture
async def servicer(echo: Any) -> Any:
    return AsyncEcho(echo)


@pytest.fixture
async def stub(daemon: Any, echo: Any, servicer: Any) -> AsyncIterator[Any]:
    server = mrpc.aio.server()
    echo.add_EchoServicer_to_server(servicer, server)
    await server.start()
    async with mrpc.aio.insecure_channel("mrpc:///echo.Echo") as channel:
        yield echo.EchoStub(channel)
    await server.stop(5)
    assert await server.wait_for_termination(5)


async def test_async_handlers(stub: Any, echo: Any) -> None:
    calls = (stub.Echo(echo.EchoRequest(text=str(number)), timeout=60) for number in range(50))
    assert [reply.text for reply in await asyncio.gather(*calls)] == [str(number) for number in range(50)]


async def test_abort_and_exceptions(stub: Any, echo: Any) -> None:
    with pytest.raises(mrpc.RpcError, match="NOT_FOUND: no such cat"):
        await stub.Echo(echo.EchoRequest(command="abort", text="cat"), timeout=30)
    with pytest.raises(mrpc.RpcError, match="UNKNOWN: Exception calling application: 'boom'"):
        await stub.Echo(echo.EchoRequest(command="raise", text="boom"), timeout=30)


async def test_metadata_of_async_handlers(stub: Any, echo: Any) -> None:
    call = stub.Echo(echo.EchoRequest(command="metadata"), metadata=[("key", "value")], timeout=30)
    assert await call.initial_metadata() == (("first", "1"),)
    assert await call.trailing_metadata() == (("last", "value"),)


async def test_the_callers_cancellation_reaches_the_handler(stub: Any, echo: Any, servicer: Any) -> None:
    call = stub.Echo(echo.EchoRequest(command="wait"), timeout=60)
    await asyncio.wait_for(servicer.entered.wait(), 30)
    assert call.cancel()
    await asyncio.wait_for(servicer.cancelled.wait(), 30)


async def test_sync_handlers_run_in_threads(stub: Any, echo: Any) -> None:
    assert (await stub.Missing(echo.EchoRequest(), timeout=30)).text != threading.main_thread().name
    with pytest.raises(mrpc.RpcError, match="ABORTED: from a thread"):
        await stub.Missing(echo.EchoRequest(command="abort"), timeout=30)
