"""Channels of asyncio programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import mrpc
import pytest


@pytest.fixture
async def channel(server: Any) -> AsyncIterator[Any]:
    async with mrpc.aio.insecure_channel("mrpc:///echo.Echo") as channel:
        yield channel


@pytest.fixture
def stub(channel: Any, echo: Any) -> Any:
    return echo.EchoStub(channel)


async def test_await_gives_the_reply(stub: Any, echo: Any) -> None:
    call = stub.Echo(echo.EchoRequest(text="x"), timeout=30)
    assert (await call).text == "x"
    assert (await call).text == "x"
    assert await call.code() is mrpc.StatusCode.OK and call.done() and not call.cancelled()


async def test_many_calls_at_once(stub: Any, echo: Any) -> None:
    replies = await asyncio.gather(*(stub.Echo(echo.EchoRequest(text=str(number)), timeout=60) for number in range(200)))
    assert [reply.text for reply in replies] == [str(number) for number in range(200)]


async def test_metadata(stub: Any, echo: Any) -> None:
    call = stub.Echo(echo.EchoRequest(command="metadata"), metadata=[("key", "value")], timeout=30)
    assert await call.initial_metadata() == (("first", "1"), ("first-bin", b"\x00\xff"))
    assert await call.trailing_metadata() == (("last", "2"), ("last-bin", b"\xfe"))


async def test_errors_are_raised_when_awaited(stub: Any, echo: Any) -> None:
    with pytest.raises(mrpc.aio.AioRpcError) as raised:
        await stub.Echo(echo.EchoRequest(command="rich"), timeout=30)
    assert (raised.value.code(), raised.value.details()) == (mrpc.StatusCode.FAILED_PRECONDITION, "rich")
    assert raised.value.status_details() == b"\x08\x09\x12\x04rich"
    assert isinstance(raised.value, mrpc.RpcError)


async def test_deadline(stub: Any, echo: Any) -> None:
    with pytest.raises(mrpc.aio.AioRpcError) as raised:
        await stub.Echo(echo.EchoRequest(command="wait_end"), timeout=0.2)
    assert raised.value.code() is mrpc.StatusCode.DEADLINE_EXCEEDED


async def test_cancelling_the_task_cancels_the_call(stub: Any, echo: Any, servicer: Any) -> None:
    servicer.entered.clear()
    call = stub.Echo(echo.EchoRequest(command="wait_end"), timeout=60)
    task = asyncio.ensure_future(asyncio.wait_for(call, 60))
    await asyncio.to_thread(servicer.entered.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.cancelled() and await call.code() is mrpc.StatusCode.CANCELLED
    assert await asyncio.to_thread(servicer.ended.wait, 30)


async def test_done_callbacks(stub: Any, echo: Any) -> None:
    done = asyncio.Event()
    call = stub.Echo(echo.EchoRequest(), timeout=30)
    call.add_done_callback(lambda ended: done.set())
    await asyncio.wait_for(done.wait(), 30)
    assert call.done()


async def test_an_array_is_not_writeable_while_a_call_sends_it(stub: Any, echo: Any, servicer: Any) -> None:
    await stub.Echo(echo.EchoRequest(), timeout=60)  # a channel's first call is laid out once its service is bound
    array = mrpc.empty(1 << 16, "uint8")
    call = stub.Echo(echo.EchoRequest(payload=array), timeout=60)
    assert not array.flags.writeable
    await call
    assert array.flags.writeable
