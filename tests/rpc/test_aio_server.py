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


async def test_over_maximum_concurrent_rpcs_calls_are_refused(daemon: Any, echo: Any, servicer: Any) -> None:
    server = mrpc.aio.server(maximum_concurrent_rpcs=1)
    echo.add_EchoServicer_to_server(servicer, server)
    await server.start()
    async with mrpc.aio.insecure_channel("mrpc:///echo.Echo") as channel:
        stub = echo.EchoStub(channel)
        first = stub.Echo(echo.EchoRequest(command="wait"), timeout=60)
        await asyncio.wait_for(servicer.entered.wait(), 30)
        second = stub.Echo(echo.EchoRequest(), timeout=60)
        assert await second.code() is mrpc.StatusCode.RESOURCE_EXHAUSTED
        assert await second.details() == "Concurrent RPC limit exceeded!"
        first.cancel()
        await asyncio.wait_for(servicer.cancelled.wait(), 30)
    await server.stop(5)


async def test_a_new_daemon_is_found_by_loops_of_both_sides(daemon: Any, stub: Any, echo: Any) -> None:
    assert (await stub.Echo(echo.EchoRequest(text="before"), timeout=60)).text == "before"
    await asyncio.to_thread(daemon.kill)
    call = stub.Echo(echo.EchoRequest(text="after"), timeout=60, wait_for_ready=True)
    plain = stub.Echo(echo.EchoRequest(), timeout=60)
    assert await plain.code() is mrpc.StatusCode.UNAVAILABLE and not call.done()
    await asyncio.to_thread(daemon.start)
    assert (await call).text == "after"


async def test_a_loop_rests_while_its_daemon_is_gone(daemon: Any, stub: Any, echo: Any) -> None:
    await stub.Echo(echo.EchoRequest(text="before"), timeout=60)
    await asyncio.to_thread(daemon.kill)
    assert await stub.Echo(echo.EchoRequest(), timeout=60).code() is mrpc.StatusCode.UNAVAILABLE
    selects = 0
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(selector, name)

        def select(self, timeout: float | None = None) -> Any:
            nonlocal selects
            selects += 1
            return selector.select(timeout)

    asyncio.get_running_loop()._selector = Counting()  # type: ignore[attr-defined]
    await asyncio.sleep(0.2)
    asyncio.get_running_loop()._selector = selector  # type: ignore[attr-defined]
    await asyncio.to_thread(daemon.start)
    assert selects < 20  # a socket that is watched after its end is readable for ever


async def test_wait_for_ready_waits_for_a_service_that_is_not_there_yet(daemon: Any, echo: Any) -> None:
    class Late(echo.EchoServicer):
        async def Echo(self, request: Any, context: Any) -> Any:
            return echo.EchoReply(text=request.text)

    async def serve_for_a_call(calls: list[Any]) -> list[str]:
        server = mrpc.aio.server()
        echo.add_EchoServicer_to_server(Late(), server)
        await server.start()
        texts = [(await call).text for call in calls]
        await server.stop(None)
        return texts

    async with mrpc.aio.insecure_channel("mrpc:///echo.Echo") as channel:
        stub = echo.EchoStub(channel)
        for text in ("not bound", "bound"):
            call = stub.Echo(echo.EchoRequest(text=text), timeout=60, wait_for_ready=True)
            late = stub.Echo(echo.EchoRequest(text=text), timeout=0.2, wait_for_ready=True)
            given_up = stub.Echo(echo.EchoRequest(text=text), wait_for_ready=True)
            assert await late.code() is mrpc.StatusCode.DEADLINE_EXCEEDED
            assert given_up.cancel() and await given_up.code() is mrpc.StatusCode.CANCELLED
            assert not call.done()
            assert await serve_for_a_call([call]) == [text]
