"""Starting and stopping servers, and what stands between. Each test has a server of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
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


@pytest.mark.parametrize("threads", [1, 4])  # none is free, or some are
def test_over_maximum_concurrent_rpcs_calls_are_refused(serve: Any, stub: Any, echo: Any, servicer: Any, threads: int) -> None:
    serve(ThreadPoolExecutor(threads), maximum_concurrent_rpcs=1)
    first = stub.Echo.future(echo.EchoRequest(text="1", command="wait"), timeout=60)
    assert servicer.entered.wait(30)
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Echo(echo.EchoRequest(text="2"), timeout=60)
    assert raised.value.code() is mrpc.StatusCode.RESOURCE_EXHAUSTED
    assert raised.value.details() == "Concurrent RPC limit exceeded!"
    servicer.release.set()
    assert first.result(30).text == "1"
    for number in range(300):  # a call that has been answered counts no more
        assert stub.Echo(echo.EchoRequest(text=str(number)), timeout=30).text == str(number)


def test_within_maximum_concurrent_rpcs_calls_wait_for_a_thread(serve: Any, stub: Any, echo: Any, servicer: Any) -> None:
    serve(ThreadPoolExecutor(1), maximum_concurrent_rpcs=3)
    first = stub.Echo.future(echo.EchoRequest(text="1", command="wait"), timeout=60)
    assert servicer.entered.wait(30)
    others = [stub.Echo.future(echo.EchoRequest(text=str(number)), timeout=60) for number in range(2, 6)]
    refused = [call for call in others[2:] if call.exception(30).code() is mrpc.StatusCode.RESOURCE_EXHAUSTED]
    servicer.release.set()
    assert len(refused) == 2 and [call.result(30).text for call in (first, *others[:2])] == ["1", "2", "3"]


def test_maximum_concurrent_rpcs_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        mrpc.server(maximum_concurrent_rpcs=0)


def test_futures_wait_for_a_service_that_is_not_there_yet(serve: Any, stub: Any, echo: Any, daemon: Any) -> None:
    serve().stop(None).wait(30)  # the channel may have bound the service: it is known, and nobody offers it
    told = threading.Event()
    request = echo.EchoRequest(text="early")
    call = stub.Echo.future(request, timeout=60, wait_for_ready=True)
    assert not call.add_done_callback(lambda done: told.set())
    request.text = "changed by the program meanwhile"
    with pytest.raises(mrpc.FutureTimeoutError):
        call.result(timeout=0.1)
    serve()
    assert call.result(30).text == "early" and told.wait(30) and call.code() is mrpc.StatusCode.OK


def test_futures_that_wait_end_at_their_deadline_or_when_cancelled(daemon: Any, echo: Any) -> None:
    with mrpc.channel("mrpc:///echo.Echo") as channel:
        stub = echo.EchoStub(channel)
        late = stub.Echo.future(echo.EchoRequest(), timeout=0.2, wait_for_ready=True)
        assert late.exception(30).code() is mrpc.StatusCode.DEADLINE_EXCEEDED
        given_up = stub.Echo.future(echo.EchoRequest(), wait_for_ready=True)
        assert given_up.cancel() and given_up.code() is mrpc.StatusCode.CANCELLED
        with pytest.raises(TypeError):
            stub.Echo.future("no message", wait_for_ready=True)


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
