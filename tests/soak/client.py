"""Mixed calls of echo.Echo until standard input ends, then a tally as JSON: `python -m tests.soak.client sync|aio SEED`.

Each worker (a thread, or a task) draws calls of these kinds; each call is tallied when it is sent and again, as "KIND CODE", when
it is over. An answer that is not what was sent is tallied as "KIND WRONG".
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
from collections import Counter
from typing import Any

import echo_mrpc
import mrpc
import numpy

from tests.soak.kinds import WEIGHTS

TIMEOUT_S = 60  # of calls that must be answered: one that runs into it is lost
WORKERS = {"sync": 4, "aio": 16}


class Worker:
    """One caller's random calls, and what became of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.tally: Counter[str] = Counter()

    def draw(self) -> tuple[str, Any, float]:
        """The next call: kind, request, timeout; counted as sent."""
        (kind,) = self._random.choices(list(WEIGHTS), WEIGHTS.values())
        self.tally["sent"] += 1
        return kind, getattr(self, "make_" + kind)(), self._random.uniform(0.001, 0.05) if kind == "expired" else TIMEOUT_S

    def make_small(self) -> Any:
        return echo_mrpc.EchoRequest(text=f"{self._random.random()}", payload=self._random.randbytes(self._random.randrange(1024)))

    def make_large(self) -> Any:
        return echo_mrpc.EchoRequest(payload=self._random.randbytes(64) * self._random.randrange(1 << 10, 1 << 16))

    def make_array(self) -> Any:
        numbers = mrpc.empty(self._random.randrange(1 << 10, 1 << 18), "float32")
        numbers[:] = self._random.randrange(1 << 20)
        return echo_mrpc.EchoRequest(numbers=numbers)

    def make_denied(self) -> Any:
        return echo_mrpc.EchoRequest(text="forbidden")

    def make_expired(self) -> Any:
        return echo_mrpc.EchoRequest(command="wait", payload=b"x" * self._random.randrange(1 << 16))

    make_cancelled = make_expired

    def pause_s(self) -> float:
        """Between the start of a call and its cancellation: sometimes none."""
        return self._random.choice([0, 0, self._random.uniform(0, 0.02)])

    def answered(self, kind: str, request: Any, reply: Any) -> None:
        same = reply.text == request.text and reply.payload == request.payload and numpy.array_equal(reply.numbers, request.numbers)
        self.tally[f"{kind} {'OK' if same else 'WRONG'}"] += 1

    def failed(self, kind: str, error: mrpc.RpcError) -> None:
        self.tally[f"{kind} {error.code().name}"] += 1


def call(worker: Worker, stub: Any) -> None:
    kind, request, timeout = worker.draw()
    try:
        if kind == "cancelled":
            future = stub.Echo.future(request, timeout=timeout)
            threading.Event().wait(worker.pause_s())
            future.cancel()
            worker.tally[f"{kind} {future.code().name}"] += 1
        else:
            worker.answered(kind, request, stub.Echo(request, timeout=timeout))
    except mrpc.RpcError as error:
        worker.failed(kind, error)


async def call_async(worker: Worker, stub: Any) -> None:
    kind, request, timeout = worker.draw()
    try:
        ongoing = stub.Echo(request, timeout=timeout)
        if kind == "cancelled":
            await asyncio.sleep(worker.pause_s())
            ongoing.cancel()
            worker.tally[f"{kind} {(await ongoing.code()).name}"] += 1
        else:
            worker.answered(kind, request, await ongoing)
    except mrpc.RpcError as error:
        worker.failed(kind, error)


def run(workers: list[Worker], over: threading.Event) -> None:
    def work(worker: Worker) -> None:
        while not over.is_set():
            call(worker, stub)

    with mrpc.channel("mrpc:///echo.Echo") as channel:
        stub = echo_mrpc.EchoStub(channel)
        threads = [threading.Thread(target=work, args=[worker]) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


async def run_async(workers: list[Worker], over: threading.Event) -> None:
    async def work(worker: Worker) -> None:
        while not over.is_set():
            await call_async(worker, stub)

    async with mrpc.aio.insecure_channel("mrpc:///echo.Echo") as channel:
        stub = echo_mrpc.EchoStub(channel)
        await asyncio.gather(*map(work, workers))


def main(flavour: str, seed: int) -> None:
    workers = [Worker(seed * 1000 + number) for number in range(WORKERS[flavour])]
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    asyncio.run(run_async(workers, over)) if flavour == "aio" else run(workers, over)
    print(json.dumps(sum((worker.tally for worker in workers), Counter())))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
