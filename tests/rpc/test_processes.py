"""fork, spawn, Ctrl-C, and many threads and loops in one process."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mrpc
import pytest


def in_child(work: Callable[[], str]) -> str:
    """What `work()` returns in a forked child, or the exception's text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork() with threads: newer Pythons warn
def test_an_inherited_channel_fails_clearly_and_a_new_one_works(stub: Any, echo: Any) -> None:
    kept = stub.Echo(echo.EchoRequest(text="before", payload=b"x" * 100_000), timeout=30)

    def own_channel() -> str:
        with mrpc.channel("mrpc:///echo.Echo") as channel:
            return echo.EchoStub(channel).Echo(echo.EchoRequest(text="child"), timeout=30).text

    assert "before fork()" in in_child(lambda: stub.Echo(echo.EchoRequest(), timeout=30).text)
    assert in_child(own_channel) == "child"
    assert in_child(lambda: f"{kept.text} {len(kept.payload)}") == "before 100000"
    assert stub.Echo(echo.EchoRequest(text="parent"), timeout=30).text == "parent"


def test_a_channel_that_was_not_used_before_fork_fails_alike(server: Any, echo: Any) -> None:
    with mrpc.channel("mrpc:///echo.Echo") as channel:
        stub = echo.EchoStub(channel)
        answer = in_child(lambda: stub.Echo(echo.EchoRequest(), timeout=30).text)
    assert answer.startswith("CallError: FAILED_PRECONDITION") and "before fork()" in answer


def call_from_worker(path: list[str], text: str) -> str:
    """In a process of multiprocessing: a channel of its own."""
    sys.path[:0] = path
    import echo_mrpc

    with mrpc.channel("mrpc:///echo.Echo") as channel:
        return echo_mrpc.EchoStub(channel).Echo(echo_mrpc.EchoRequest(text=text), timeout=30).text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(stub: Any, echo: Any, generated: Any, method: str) -> None:
    assert stub.Echo(echo.EchoRequest(text="parent"), timeout=30).text == "parent"
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(call_from_worker, [(list(sys.path), "a"), (list(sys.path), "b")]) == ["a", "b"]


PROGRAM = """
import sys
sys.path[:0] = {path!r}
import echo_mrpc, mrpc, time
with mrpc.channel("mrpc:///echo.Echo") as channel:
    stub = echo_mrpc.EchoStub(channel)
    try:
        print("calling", flush=True)
        {call}
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
"""


@pytest.mark.parametrize(
    "call",
    [
        'stub.Echo(echo_mrpc.EchoRequest(command="wait_end"), timeout=60)',
        'stub.Echo.future(echo_mrpc.EchoRequest(command="wait_end"), timeout=60).result()',
        'stub.Echo.future(echo_mrpc.EchoRequest(command="wait_end"), timeout=60).result(timeout=60)',
    ],
)
def test_ctrl_c_ends_a_waiting_call_and_cancels_it(server: Any, servicer: Any, call: str) -> None:
    servicer.entered.clear()
    servicer.ended.clear()
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(path=list(sys.path), call=call)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None and program.stdout.readline() == "calling\n"
    assert servicer.entered.wait(30)
    sent = time.monotonic()
    program.send_signal(signal.SIGINT)
    word, when = program.stdout.readline().split()
    assert word == "interrupted" and float(when) - sent < 5  # 0.1 s when the machine is idle
    assert program.wait(30) == 0
    program.stdout.close()
    assert servicer.ended.wait(30)


def test_64_threads_and_loops_share_one_attachment(server: Any, echo: Any) -> None:
    calls_each = 20

    def calls(name: int) -> list[str]:
        with mrpc.channel("mrpc:///echo.Echo") as channel:
            stub = echo.EchoStub(channel)
            return [stub.Echo(echo.EchoRequest(text=f"{name}.{number}"), timeout=120).text for number in range(calls_each)]

    async def async_calls(name: int) -> list[str]:
        async with mrpc.aio.insecure_channel("mrpc:///echo.Echo") as channel:
            stub = echo.EchoStub(channel)
            replies = await asyncio.gather(
                *(stub.Echo(echo.EchoRequest(text=f"{name}.{number}"), timeout=120) for number in range(calls_each))
            )
            return [reply.text for reply in replies]

    with ThreadPoolExecutor(66) as threads:
        jobs = [threads.submit(calls, name) for name in range(64)]
        jobs += [threads.submit(lambda name=name: asyncio.run(async_calls(name))) for name in (64, 65)]
        for name, job in enumerate(jobs):
            assert job.result(300) == [f"{name}.{number}" for number in range(calls_each)]


def test_a_client_that_only_calls_has_no_thread_of_ours(stub: Any, echo: Any) -> None:
    program = (
        "import sys; sys.path[:0] = {path!r}\n"
        "import echo_mrpc, mrpc, os\n"
        "with mrpc.channel('mrpc:///echo.Echo') as channel:\n"
        "    stub = echo_mrpc.EchoStub(channel)\n"
        "    stub.Echo(echo_mrpc.EchoRequest(text='x'), timeout=30)\n"
        "    print(len(os.listdir('/proc/self/task')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program.format(path=list(sys.path))], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")
