"""The works that a client can be told to do. Times are nanoseconds; results are lists or numbers that JSON can hold."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bench.common.open_loop import open_loop
from bench.rpc.binding import Binding

READY_SECONDS = 20
CALL_SECONDS = 30  # no call hangs: each has a timeout, on every system


class Works:
    """Over the synchronous stub."""

    def __init__(self, bound: Binding, stub: Any) -> None:
        self._bound = bound
        self._call = partial(stub.Call, timeout=CALL_SECONDS)
        self._busy = partial(stub.Busy, timeout=CALL_SECONDS)
        self._future = partial(stub.Call.future, timeout=CALL_SECONDS)

    def ready(self) -> None:
        """Calls until the first one succeeds. Raises the last RpcError after a while."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._call(self._bound.Payload(), timeout=READY_SECONDS)
                return
            except self._bound.rpc.RpcError:
                if time.monotonic() > deadline:
                    raise

    def latency(self, size: int, calls: int, warmup: int) -> list[int]:
        """One in flight: the time of each call, its message made anew as an application would."""
        call, payload, data = self._call, self._bound.Payload, bytes(size)
        for _ in range(warmup):
            call(payload(data=data))
        clock, times = time.perf_counter_ns, []
        for _ in range(calls):
            began = clock()
            call(payload(data=data))
            times.append(clock() - began)
        return times

    def over_work(self, busy_us: int, calls: int, warmup: int) -> list[int]:
        """One in flight, to a handler that is busy for `busy_us`: how much longer than the handler each call took."""
        call, work, busy_ns, clock = self._busy, self._bound.Work, busy_us * 1000, time.perf_counter_ns
        for _ in range(warmup):
            call(work(busy_ns=busy_ns))
        times = []
        for _ in range(calls):
            began = clock()
            busy = call(work(busy_ns=busy_ns)).busy_ns
            times.append(clock() - began - busy)
        return times

    def rate_threads(self, size: int, in_flight: int, seconds: float) -> float:
        """Calls a second with `in_flight` threads that call one after another."""
        call, payload, data = self._call, self._bound.Payload, bytes(size)
        ends = time.monotonic() + seconds

        def run(_: int) -> int:
            done = 0
            while time.monotonic() < ends:
                call(payload(data=data))
                done += 1
            return done

        with ThreadPoolExecutor(in_flight) as pool:
            began = time.monotonic()
            done = sum(pool.map(run, range(in_flight)))
            return done / (time.monotonic() - began)

    def rate_futures(self, size: int, in_flight: int, seconds: float) -> float:
        """Calls a second from one thread that keeps `in_flight` futures open, and waits for the oldest."""
        future, payload, data = self._future, self._bound.Payload, bytes(size)
        began = time.monotonic()
        open_calls = [future(payload(data=data)) for _ in range(in_flight)]
        done = 0
        while time.monotonic() < began + seconds:
            slot = done % in_flight
            open_calls[slot].result()
            open_calls[slot] = future(payload(data=data))
            done += 1
        for each in open_calls:
            each.result()
        return (done + in_flight) / (time.monotonic() - began)

    def open_loop(self, size: int, rate: float, seconds: float) -> list[int]:
        return open_loop(lambda: self._call(self._bound.Payload(data=bytes(size))), rate, seconds)

    def goodput(self, size: int, seconds: float) -> float:
        """Bytes echoed a second: an array goes out, an array that can be computed on comes back."""
        echo = self._array_echo(size)
        echo()
        began, done = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            echo()
            done += 1
        return done * size / (time.monotonic() - began)

    def check_goodput(self, size: int) -> bool:
        """Whether the array comes back as it went, outside of timing."""
        import numpy

        sent = numpy.random.default_rng(1).integers(0, 256, size, numpy.uint8)
        return hashlib.sha256(sent).digest() == hashlib.sha256(self._array_echo(size, sent)()).digest()

    def _array_echo(self, size: int, content: Any = 0) -> Callable[[], Any]:
        import numpy

        call, payload, empty = self._call, self._bound.Payload, getattr(self._bound.rpc, "empty", None)
        array = empty(size, "uint8") if empty else numpy.empty(size, "uint8")
        array[:] = content
        if empty:  # stands in shared memory, and is sent from there
            return lambda: numpy.frombuffer(call(payload(data=array)).data, "uint8")
        return lambda: numpy.frombuffer(call(payload(data=array.tobytes())).data, "uint8")

    def burst(self, size: int, in_flight: int) -> int:
        """`in_flight` calls at once, all replies held, then let go."""
        held: list[Any] = []
        threads = [threading.Thread(target=lambda: held.append(self._call(self._bound.Payload(data=bytes(size))))) for _ in range(in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(held)


class AioWorks:
    """Over the asyncio stub."""

    def __init__(self, bound: Binding, stub: Any) -> None:
        self._bound = bound
        self._call = partial(stub.Call, timeout=CALL_SECONDS)

    async def ready(self) -> None:
        await self._call(self._bound.Payload(), wait_for_ready=True, timeout=READY_SECONDS)

    async def latency(self, size: int, calls: int, warmup: int) -> list[int]:
        call, payload, data = self._call, self._bound.Payload, bytes(size)
        for _ in range(warmup):
            await call(payload(data=data))
        clock, times = time.perf_counter_ns, []
        for _ in range(calls):
            began = clock()
            await call(payload(data=data))
            times.append(clock() - began)
        return times

    async def rate_tasks(self, size: int, in_flight: int, seconds: float) -> float:
        call, payload, data = self._call, self._bound.Payload, bytes(size)
        began = time.monotonic()

        async def run() -> int:
            done = 0
            while time.monotonic() < began + seconds:
                await call(payload(data=data))
                done += 1
            return done

        done = sum(await asyncio.gather(*(run() for _ in range(in_flight))))
        return done / (time.monotonic() - began)
