"""Processes that die: what the others are told, and that their memory comes back. Nobody sleeps: pipes tell when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mrpc
import pytest

from .conftest import CAP_S, NEIGHBOUR_UID, ROOT, RPC, Host

SERVER = """
import os, sys
import mrpc
from echo_mrpc import EchoReply, EchoServicer, add_EchoServicer_to_server

class Servicer(EchoServicer):
    def Echo(self, request, context):
        if request.command == "raise":
            raise KeyError("secret of the handler")
        if request.command == "wait":
            over = __import__("threading").Event()
            context.add_callback(over.set)
            print("entered", len(request.payload), flush=True)
            over.wait()
            print("cancelled", context.is_active(), flush=True)
        return EchoReply(text=request.text, payload=request.payload)

server = mrpc.server()
add_EchoServicer_to_server(Servicer(), server)
server.start()
if "fork" in sys.argv:
    child = os.fork()
    if child == 0:
        os.read(0, 1)
        os._exit(0)
    print("child", child, flush=True)
print("serving", flush=True)
sys.stdin.read()
server.stop(None).wait()
"""

CLIENT = """
import sys
import mrpc
from echo_mrpc import EchoRequest, EchoStub
with mrpc.channel("mrpc:///echo.Echo") as channel:
    EchoStub(channel).Echo(EchoRequest(command="wait", payload=b"x" * int(sys.argv[1])), timeout=60)
"""


class Program:
    """Python text in a process of its own, of another user where possible; its lines are read as they come."""

    def __init__(self, host: Host, generated: Path, text: str, *arguments: str) -> None:
        command = [sys.executable, "-c", text, *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={NEIGHBOUR_UID}", f"--regid={NEIGHBOUR_UID}", "--clear-groups", *command]
        environ = os.environ | {
            "MRPC_RUNTIME_DIR": str(host.runtime_dir),
            "PYTHONPATH": os.pathsep.join([str(generated), str(RPC), str(ROOT / "stubs"), str(ROOT)]),
        }
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(CAP_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


Run = Callable[..., Program]


@pytest.fixture
def run(generated: Path) -> Iterator[Run]:
    started: list[Program] = []

    def start(host: Host, text: str, *arguments: str) -> Program:
        started.append(Program(host, generated, text, *arguments))
        return started[-1]

    yield start
    for program in started:
        program.close()


@pytest.fixture
def own(start_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> Host:
    """A daemon for this test, which this process uses too."""
    started = start_host()
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(started.runtime_dir))
    return started


@pytest.fixture
def stub(own: Host, echo: Any) -> Iterator[Any]:
    with mrpc.channel("mrpc:///echo.Echo") as channel:
        yield echo.EchoStub(channel)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def failure(call: Callable[[], Any]) -> mrpc.RpcError:
    with pytest.raises(mrpc.RpcError) as raised:
        call()
    return raised.value


def detached(host: Host, pid: int) -> None:
    """Waits until the daemon has let go of `pid`; each question is a call to the daemon, so there is no need to sleep."""
    while any(each["pid"] == pid for each in host.ask("apps")):
        pass


def test_a_server_killed_in_a_call_is_unavailable_and_its_memory_comes_back(own: Host, run: Run, stub: Any, echo: Any, threads: Any) -> None:
    server = run(own, SERVER)
    assert server.line() == "serving"
    large = b"x" * (16 << 20)
    call = threads.submit(lambda: failure(lambda: stub.Echo(echo.EchoRequest(command="wait", payload=large), timeout=60)))
    assert server.line() == f"entered {len(large)}"
    (held,) = [each for each in own.ask("apps") if each["role"] == "server"]
    assert held["receive_committed_bytes"] >= len(large)
    before = own.descriptors()
    server.kill()
    error = call.result(CAP_S)
    assert error.code() is mrpc.StatusCode.UNAVAILABLE and "is gone" in error.details()
    detached(own, held["pid"])
    assert own.descriptors() < before
    status = own.ask("status")
    assert status["open_calls"] == 0 and status["shared_memory_bytes"] < 2 * len(large)
    assert own.ask("services") == [] or not own.ask("services")[0]["endpoints"]
    again = run(own, SERVER)
    assert again.line() == "serving"
    assert stub.Echo(echo.EchoRequest(text="again"), timeout=CAP_S).text == "again"


def test_a_client_killed_in_a_call_cancels_it_for_the_server(own: Host, run: Run) -> None:
    server = run(own, SERVER)
    assert server.line() == "serving"
    client = run(own, CLIENT, str(4 << 20))
    assert server.line() == f"entered {4 << 20}"
    client.kill()
    assert server.line() == "cancelled False"
    detached(own, client.process.pid)
    assert own.ask("status")["open_calls"] == 0


def test_a_handler_that_raises_ends_its_call_only(own: Host, run: Run, stub: Any, echo: Any) -> None:
    server = run(own, SERVER)
    assert server.line() == "serving"
    for _ in range(3):
        assert failure(lambda: stub.Echo(echo.EchoRequest(command="raise"), timeout=CAP_S)).code() is mrpc.StatusCode.UNKNOWN
        assert stub.Echo(echo.EchoRequest(text="alive"), timeout=CAP_S).text == "alive"


@pytest.mark.cap_s(20)
def test_a_killed_daemon_is_unavailable_then_everybody_comes_back(own: Host, run: Run, stub: Any, echo: Any, threads: Any) -> None:
    server = run(own, SERVER)
    assert server.line() == "serving"
    call = threads.submit(lambda: failure(lambda: stub.Echo(echo.EchoRequest(command="wait"), timeout=60)))
    assert server.line() == "entered 0"
    own.kill()
    assert call.result(CAP_S).code() is mrpc.StatusCode.UNAVAILABLE
    assert server.line() == "cancelled False"
    error = failure(lambda: stub.Echo(echo.EchoRequest(), timeout=CAP_S))
    assert error.code() is mrpc.StatusCode.UNAVAILABLE and "mrpcd" in error.details()
    own.start()  # over the stale socket and lock of the one that was killed
    while not (offered := own.ask("services")) or not offered[0]["endpoints"]:
        pass  # the server offers its services again by itself
    assert stub.Echo(echo.EchoRequest(text="back"), timeout=CAP_S).text == "back"


def test_the_death_of_a_parent_is_seen_though_its_child_keeps_the_socket(own: Host, run: Run, stub: Any, echo: Any, threads: Any) -> None:
    server = run(own, SERVER, "fork")
    child = int(server.line().removeprefix("child "))
    assert server.line() == "serving"
    call = threads.submit(lambda: failure(lambda: stub.Echo(echo.EchoRequest(command="wait"), timeout=60)))
    assert server.line() == "entered 0"
    os.kill(server.process.pid, signal.SIGKILL)
    assert call.result(CAP_S).code() is mrpc.StatusCode.UNAVAILABLE
    os.kill(child, 0)  # it lives
    detached(own, server.process.pid)
    assert all(not service["endpoints"] for service in own.ask("services"))


def test_calls_beyond_what_waits_are_refused_on_that_edge_only(own: Host, run: Run, stub: Any, echo: Any) -> None:
    """A server that takes one call and is then stopped: its ring fills, calls wait, then are refused; nobody else's are."""
    server = run(own, SERVER)
    assert server.line() == "serving"
    waiting = [stub.Echo.future(echo.EchoRequest(command="wait"), timeout=60)]
    assert server.line() == "entered 0"
    os.kill(server.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
    waiting += [stub.Echo.future(echo.EchoRequest(text="x"), timeout=60) for _ in range(6000)]
    error = failure(waiting[-1].result)  # 1024 in the ring and 4096 parked at most
    assert error.code() is mrpc.StatusCode.RESOURCE_EXHAUSTED and "takes no more calls" in error.details()
    assert {each["test"]: each["result"] for each in own.ask("check")}["round trip"] == "PASS"
    os.kill(server.process.pid, signal.SIGCONT)
    waiting.pop(0).cancel()
    taken = [call for call in waiting if call.exception(CAP_S) is None]
    assert 4096 <= len(taken) < 6000 and all(call.result().text == "x" for call in taken)
