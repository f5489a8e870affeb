"""Interceptors of channels."""

from __future__ import annotations

from typing import Any

import mrpc
import pytest


class Tag(mrpc.UnaryUnaryClientInterceptor):
    """Adds its name to the metadata and notes what passes."""

    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log = name, log

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.log.append((self.name, client_call_details.method, client_call_details.timeout))
        metadata = [*(client_call_details.metadata or ()), ("tag", self.name)]
        call = continuation(client_call_details._replace(metadata=metadata), request)
        call.add_done_callback(lambda done: self.log.append((self.name, done.code())))
        return call


class Answer(mrpc.UnaryUnaryClientInterceptor):
    """Ends every call itself."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        raise RuntimeError("not today")


def test_client_interceptors_nest_first_outermost(server: Any, echo: Any, servicer: Any) -> None:
    log: list[Any] = []
    with mrpc.intercept_channel(mrpc.channel("mrpc:///echo.Echo"), Tag("outer", log), Tag("inner", log)) as channel:
        stub = echo.EchoStub(channel)
        assert stub.Echo(echo.EchoRequest(text="x", command="metadata"), timeout=30).text == "x"
        assert log == [
            ("outer", "/echo.Echo/Echo", 30), ("inner", "/echo.Echo/Echo", 30),
            ("inner", mrpc.StatusCode.OK), ("outer", mrpc.StatusCode.OK),
        ]  # fmt: skip
        assert [value for key, value in servicer.seen if key == "tag"] == ["outer", "inner"]
        reply, call = stub.Echo.with_call(echo.EchoRequest(text="y"), timeout=30)
        assert (reply.text, call.code()) == ("y", mrpc.StatusCode.OK)
        assert stub.Echo.future(echo.EchoRequest(text="z"), timeout=30).result(30).text == "z"


def test_client_interceptors_see_failures(server: Any, echo: Any) -> None:
    log: list[Any] = []
    channel = mrpc.intercept_channel(mrpc.channel("mrpc:///echo.Echo"), Tag("one", log))
    with channel, pytest.raises(mrpc.RpcError) as raised:
        echo.EchoStub(channel).Echo(echo.EchoRequest(command="abort"), timeout=30)
    assert raised.value.code() is mrpc.StatusCode.NOT_FOUND
    assert log[-1] == ("one", mrpc.StatusCode.NOT_FOUND)


def test_what_an_interceptor_raises_is_raised(server: Any, echo: Any) -> None:
    channel = mrpc.intercept_channel(mrpc.channel("mrpc:///echo.Echo"), Answer())
    with pytest.raises(RuntimeError, match="not today"):
        echo.EchoStub(channel).Echo(echo.EchoRequest())
    with pytest.raises(TypeError, match="no client interceptor"):
        mrpc.intercept_channel(channel, object())
