"""Deadlines and cancellation, and what handlers see of them."""

from __future__ import annotations

import time
from typing import Any

import mrpc
import pytest


@pytest.fixture(autouse=True)
def fresh(servicer: Any) -> None:
    for event in (servicer.entered, servicer.ended, servicer.release):
        event.clear()


def test_a_deadline_ends_the_call_on_both_sides(stub: Any, echo: Any, servicer: Any) -> None:
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Echo(echo.EchoRequest(command="wait_end"), timeout=0.2)
    assert raised.value.code() is mrpc.StatusCode.DEADLINE_EXCEEDED
    assert servicer.ended.wait(30) and servicer.seen is False


def test_a_deadline_in_the_past(stub: Any, echo: Any) -> None:
    for timeout in (0, -1):
        with pytest.raises(mrpc.RpcError) as raised:
            stub.Echo(echo.EchoRequest(), timeout=timeout)
        assert raised.value.code() is mrpc.StatusCode.DEADLINE_EXCEEDED


def test_handlers_know_the_time_remaining(stub: Any, echo: Any, servicer: Any) -> None:
    stub.Echo(echo.EchoRequest(command="time_remaining"), timeout=100)
    assert 50 < servicer.seen <= 100
    stub.Echo(echo.EchoRequest(command="time_remaining"))
    assert servicer.seen is None


def test_cancelling_a_future_reaches_the_handler(stub: Any, echo: Any, servicer: Any) -> None:
    call = stub.Echo.future(echo.EchoRequest(command="wait_end"), timeout=60)
    assert servicer.entered.wait(30)
    assert call.cancel() and call.cancelled() and call.code() is mrpc.StatusCode.CANCELLED
    with pytest.raises(mrpc.FutureCancelledError):
        call.result()
    assert servicer.ended.wait(30) and servicer.seen is False
    assert not call.cancel()


def test_result_with_timeout_does_not_wait_longer(stub: Any, echo: Any, servicer: Any) -> None:
    call = stub.Echo.future(echo.EchoRequest(command="wait"), timeout=60)
    before = time.monotonic()
    with pytest.raises(mrpc.FutureTimeoutError):
        call.result(timeout=0.1)
    assert 0.1 <= time.monotonic() - before < 10
    servicer.release.set()
    call.result(timeout=30)
