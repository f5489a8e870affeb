"""The ways to make a unary call, and what each gives back."""

from __future__ import annotations

import threading
from typing import Any

import mrpc
import pytest


def test_call_returns_the_reply(stub: Any, echo: Any) -> None:
    reply = stub.Echo(echo.EchoRequest(text="héllo", payload=b"\x00\x01", numbers=[1.5, 2.5]), timeout=30)
    assert reply == echo.EchoReply(text="héllo", payload=b"\x00\x01", numbers=[1.5, 2.5])


def test_handler_runs_in_the_executor(stub: Any, echo: Any) -> None:
    assert stub.Echo(echo.EchoRequest(command="thread")).text.startswith("ThreadPoolExecutor")


def test_with_call_gives_the_call_beside_the_reply(stub: Any, echo: Any) -> None:
    reply, call = stub.Echo.with_call(echo.EchoRequest(text="x"), timeout=30)
    assert (reply.text, call.code(), call.details(), call.done()) == ("x", mrpc.StatusCode.OK, "", True)


def test_future_gives_the_reply_later(stub: Any, echo: Any, servicer: Any) -> None:
    servicer.release.clear()
    call = stub.Echo.future(echo.EchoRequest(text="later", command="wait"), timeout=30)
    with pytest.raises(mrpc.FutureTimeoutError):
        call.result(timeout=0)
    assert (call.done(), call.running(), call.is_active()) == (False, True, True)
    assert 0 < call.time_remaining() <= 30
    servicer.release.set()
    assert call.result(timeout=30).text == "later"
    assert (call.code(), call.exception(), call.done(), call.cancelled()) == (mrpc.StatusCode.OK, None, True, False)


def test_done_callbacks_run_before_and_after_the_end(stub: Any, echo: Any, servicer: Any) -> None:
    servicer.release.clear()
    call = stub.Echo.future(echo.EchoRequest(text="x", command="wait"), timeout=30)
    early, late = threading.Event(), []
    call.add_done_callback(lambda done: early.set())
    servicer.release.set()
    assert early.wait(30)
    call.add_done_callback(late.append)
    assert late == [call]


def test_many_futures_at_once(stub: Any, echo: Any) -> None:
    calls = [stub.Echo.future(echo.EchoRequest(text=str(number)), timeout=30) for number in range(100)]
    assert [call.result(30).text for call in calls] == [str(number) for number in range(100)]


def test_wait_for_ready_waits_for_the_service(daemon: Any, echo: Any, servicer: Any, channel: Any) -> None:
    assert echo.EchoStub(channel).Echo(echo.EchoRequest(text="x"), timeout=30, wait_for_ready=True).text == "x"


def test_wait_for_ready_does_not_repeat_a_call_that_a_server_had(stub: Any, echo: Any, servicer: Any) -> None:
    """Whatever the server's status says."""
    servicer.seen = None
    request = echo.EchoRequest(text="no server offers what I need", command="abort_unavailable")
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Echo(request, timeout=30, wait_for_ready=True)
    with pytest.raises(mrpc.RpcError):
        stub.Echo.future(request, timeout=30, wait_for_ready=True).result(30)
    assert raised.value.code() is mrpc.StatusCode.UNAVAILABLE
    assert servicer.seen == 2


def test_targets_with_an_address_resolve_by_service_name(server: Any, echo: Any) -> None:
    for target in ("localhost:50051", "dns:///somewhere:1", "echo.Echo", "mrpc:///echo.Echo"):
        with mrpc.insecure_channel(target) as channel:
            assert echo.EchoStub(channel).Echo(echo.EchoRequest(text=target), timeout=30).text == target


def test_channels_on_paths_with_serializers_as_grpc_generates_them(channel: Any, echo: Any) -> None:
    method = channel.unary_unary(
        "/echo.Echo/Echo", request_serializer=echo.EchoRequest.SerializeToString, response_deserializer=echo.EchoReply.FromString
    )
    assert method(echo.EchoRequest(text="x"), timeout=30).text == "x"


def test_wrong_use_is_told_apart(stub: Any, channel: Any, echo: Any) -> None:
    with pytest.raises(TypeError, match="takes a EchoRequest"):
        stub.Echo(echo.EchoReply())
    with pytest.raises(TypeError, match="no argument 'time_out'"):
        stub.Echo(echo.EchoRequest(), time_out=3)
    with pytest.raises(TypeError, match="needs a request"):
        stub.Echo()
    with pytest.raises(ValueError, match="names nothing"):
        mrpc.channel("mrpc:///")
    with pytest.raises(ValueError, match="cannot tell the schema"):
        channel.unary_unary("/echo.Echo/Echo", bytes, bytes)


def test_closed_channel_refuses_calls(server: Any, echo: Any) -> None:
    channel = mrpc.channel("mrpc:///echo.Echo")
    stub = echo.EchoStub(channel)
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        stub.Echo(echo.EchoRequest())


def test_streaming_says_that_it_comes_later(stub: Any, echo: Any) -> None:
    with pytest.raises(mrpc.RpcError, match="streaming") as raised:
        stub.Watch(echo.EchoRequest())
    assert raised.value.code() is mrpc.StatusCode.UNIMPLEMENTED


def test_channel_ready_future(channel: Any) -> None:
    assert mrpc.channel_ready_future(channel).result(timeout=30) is None
