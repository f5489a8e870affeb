"""Starting and stopping servers, and what stands between. Each test has a server of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mrpc
import pytest


@pytest.fixture
def servicer(echo: Any) -> Any:
    from echo_servicer import EchoServicer

    return EchoServicer()


@pytest.fixture
def serve(daemon: Any, echo: Any, servicer: Any) -> Iterator[Callable[..., Any]]:
    """Starts a server: `serve(**arguments of mrpc.server)`."""
    servers = []

    def start(executor: Any = None, **arguments: Any) -> Any:
        server = mrpc.server(executor, **arguments)
        echo.add_EchoServicer_to_server(servicer, server)
        server.start()
        servers.append(server)
        return server

    yield start
    servicer.release.set()
    for server in servers:
        assert server.stop(None).wait(30)


@pytest.fixture
def stub(daemon: Any, echo: Any) -> Iterator[Any]:
    with mrpc.channel("mrpc:///echo.Echo") as channel:
        yield echo.EchoStub(channel)


def test_a_server_without_executor_has_threads_of_its_own(serve: Any, stub: Any, echo: Any) -> None:
    serve()
    assert stub.Echo(echo.EchoRequest(command="thread"), timeout=30).text.startswith("mrpc-server")


def test_stop_with_grace_lets_calls_end(serve: Any, stub: Any, echo: Any, servicer: Any) -> None:
    server = serve()
    call = stub.Echo.future(echo.EchoRequest(text="x", command="wait"), timeout=60)
    assert servicer.entered.wait(30)
    stopped = server.stop(grace=60)
    assert not stopped.is_set() and server.wait_for_termination(0.05)
    servicer.release.set()
    assert call.result(30).text == "x"
    assert stopped.wait(30) and not server.wait_for_termination()


def test_stop_without_grace_cancels_calls(serve: Any, stub: Any, echo: Any, servicer: Any) -> None:
    server = serve()
    call = stub.Echo.future(echo.EchoRequest(command="wait"), timeout=60)
    assert servicer.entered.wait(30)
    assert server.stop(None).wait(30)
    assert call.exception(30).code() in (mrpc.StatusCode.CANCELLED, mrpc.StatusCode.UNAVAILABLE)


def test_after_a_stop_the_service_is_gone_and_another_can_offer_it(serve: Any, stub: Any, echo: Any) -> None:
    assert serve().stop(None).wait(30)
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Echo(echo.EchoRequest(), timeout=30)
    assert raised.value.code() is mrpc.StatusCode.UNAVAILABLE
    serve()
    assert stub.Echo(echo.EchoRequest(text="back"), timeout=30, wait_for_ready=True).text == "back"


def test_stop_without_start_is_done_at_once() -> None:
    assert mrpc.server().stop(None).is_set()


def test_a_server_starts_once_and_takes_services_before(serve: Any, echo: Any, servicer: Any) -> None:
    server = serve()
    with pytest.raises(ValueError, match="already"):
        server.start()
    with pytest.raises(ValueError, match="before"):
        echo.add_EchoServicer_to_server(servicer, server)


def test_registration_by_handlers_as_grpc_generates_it(daemon: Any, stub: Any, echo: Any) -> None:
    handler = mrpc.unary_unary_rpc_method_handler(
        lambda request, context: echo.EchoReply(text=request.text.upper()),
        request_deserializer=echo.EchoRequest.FromString,
        response_serializer=echo.EchoReply.SerializeToString,
    )
    with mrpc.server(ThreadPoolExecutor(2)) as server:
        server.add_generic_rpc_handlers((mrpc.method_handlers_generic_handler("echo.Echo", {"Echo": handler}),))
        assert server.add_insecure_port("[::]:50051") == 50051 and server.add_insecure_port("localhost:0") > 0
        server.start()
        assert stub.Echo(echo.EchoRequest(text="x"), timeout=30).text == "X"
        with pytest.raises(mrpc.RpcError) as raised:
            stub.Missing(echo.EchoRequest(), timeout=30)
        assert raised.value.code() is mrpc.StatusCode.UNIMPLEMENTED


def test_maximum_concurrent_rpcs_takes_fewer_threads(serve: Any, stub: Any, echo: Any, servicer: Any) -> None:
    serve(ThreadPoolExecutor(4), maximum_concurrent_rpcs=1)
    first = stub.Echo.future(echo.EchoRequest(text="1", command="wait"), timeout=60)
    assert servicer.entered.wait(30)
    second = stub.Echo.future(echo.EchoRequest(text="2"), timeout=60)
    with pytest.raises(mrpc.FutureTimeoutError):
        second.result(timeout=0.1)
    servicer.release.set()
    assert (first.result(30).text, second.result(30).text) == ("1", "2")


def test_an_async_handler_needs_the_async_server(daemon: Any, echo: Any) -> None:
    class Async(echo.EchoServicer):
        async def Echo(self, request: Any, context: Any) -> Any:
            return echo.EchoReply()

    server = mrpc.server()
    echo.add_EchoServicer_to_server(Async(), server)
    with pytest.raises(TypeError, match="mrpc.aio.server"):
        server.start()


def test_a_new_daemon_is_found_by_client_and_server(daemon: Any, serve: Any, stub: Any, echo: Any) -> None:
    serve()
    assert stub.Echo(echo.EchoRequest(text="before"), timeout=30).text == "before"
    daemon.kill()
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Echo(echo.EchoRequest(), timeout=5)
    assert raised.value.code() is mrpc.StatusCode.UNAVAILABLE
    daemon.start()
    assert stub.Echo(echo.EchoRequest(text="after"), timeout=60, wait_for_ready=True).text == "after"


PROGRAM = """
import mrpc, sys
from concurrent.futures import ThreadPoolExecutor
from echo_servicer import EchoServicer
import echo_mrpc
server = mrpc.server(ThreadPoolExecutor(4))
echo_mrpc.add_EchoServicer_to_server(EchoServicer(), server)
server.start()
channel = mrpc.channel("mrpc:///echo.Echo")
print(echo_mrpc.EchoStub(channel).Echo(echo_mrpc.EchoRequest(text="served"), timeout=30).text)
"""


def test_a_program_with_a_running_server_can_end(daemon: Any, generated: Any) -> None:
    environment_path = [*sys.path]
    program = f"import sys; sys.path[:0] = {environment_path!r}\n" + PROGRAM
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served\n", "")
