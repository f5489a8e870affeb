"""Interceptors of servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mrpc
import pytest


class Guard(mrpc.ServerInterceptor):
    """Lets through who knows the word."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if ("word", "open") in handler_call_details.invocation_metadata:
            return continuation(handler_call_details)
        return mrpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(
                mrpc.StatusCode.UNAUTHENTICATED, "say the word for " + handler_call_details.method
            )
        )


class Blind(mrpc.ServerInterceptor):
    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return None


@pytest.fixture
def guarded(daemon: Any, echo: Any, request: pytest.FixtureRequest) -> Any:
    from echo_servicer import EchoServicer

    with mrpc.server(ThreadPoolExecutor(2), interceptors=request.param) as server:
        echo.add_EchoServicer_to_server(EchoServicer(), server)
        server.start()
        with mrpc.channel("mrpc:///echo.Echo") as channel:
            yield echo.EchoStub(channel)


@pytest.mark.parametrize("guarded", [(Guard(),)], indirect=True)
def test_an_interceptor_may_answer_instead_of_the_handler(guarded: Any, echo: Any) -> None:
    assert guarded.Echo(echo.EchoRequest(text="x"), metadata=[("word", "open")], timeout=30).text == "x"
    with pytest.raises(mrpc.RpcError, match="UNAUTHENTICATED: say the word for /echo.Echo/Echo"):
        guarded.Echo(echo.EchoRequest(text="x"), timeout=30)


@pytest.mark.parametrize("guarded", [(Blind(), Guard())], indirect=True)
def test_an_interceptor_that_finds_no_handler(guarded: Any, echo: Any) -> None:
    with pytest.raises(mrpc.RpcError) as raised:
        guarded.Echo(echo.EchoRequest(text="x"), timeout=30)
    assert raised.value.code() is mrpc.StatusCode.UNIMPLEMENTED
