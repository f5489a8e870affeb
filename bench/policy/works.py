"""The works that a client can be told to do. Times are nanoseconds; results are what JSON can hold."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Any

import mrpc

from bench.common.open_loop import open_loop

CALL_SECONDS = 30  # no call hangs
READY_SECONDS = 20


class Works:
    def __init__(self, made: Any, stub: Any) -> None:
        self._payload, self._stub = made.Payload, stub
        self._first = stub.Call if hasattr(stub, "Call") else stub.Bulk

    def ready(self) -> None:
        self._first(self._payload(), timeout=READY_SECONDS, wait_for_ready=True)

    def until_passed(self) -> None:
        """Calls until one is let pass: a budget that was just applied is empty at first."""
        deadline = time.monotonic() + READY_SECONDS
        while self._granted_once() == "denied":
            if time.monotonic() > deadline:
                raise TimeoutError(f"every call was refused for {READY_SECONDS} s")

    def latency(self, size: int, calls: int, warmup: int = 0) -> list[int]:
        """One in flight: the time of each call."""
        data, clock, times = bytes(size), time.perf_counter_ns, []
        for at in range(warmup + calls):
            began = clock()
            self._first(self._payload(data=data, tag="t"), timeout=CALL_SECONDS)
            if at >= warmup:
                times.append(clock() - began)
        return times

    def pipelined(self, size: int, calls: int, in_flight: int) -> None:
        """`calls` calls from one thread, so many at once."""
        data = bytes(size)
        open_calls: deque[Any] = deque()
        for _ in range(calls):
            if len(open_calls) == in_flight:
                open_calls.popleft().result()
            open_calls.append(self._first.future(self._payload(data=data, tag="t"), timeout=CALL_SECONDS))
        for each in open_calls:
            each.result()

    def open_loop(self, size: int, rate: float, seconds: float) -> list[int]:
        return open_loop(lambda: self._first(self._payload(data=bytes(size)), timeout=CALL_SECONDS), rate, seconds)

    def bulk(self, size: int, in_flight: int, done: threading.Event) -> dict[str, float]:
        """As many large calls as go, `in_flight` at once, until told: calls, and calls a second."""
        data, began, count = bytes(size), time.monotonic(), 0
        open_calls: deque[Any] = deque()
        while not done.is_set():
            while len(open_calls) < in_flight:
                open_calls.append(self._stub.Bulk.future(self._payload(data=data), timeout=CALL_SECONDS))
            open_calls.popleft().result()
            count += 1
        for each in open_calls:
            each.result()
        return {"calls": count, "rate": count / (time.monotonic() - began)}

    def numbered(self, name: str, size: int, in_flight: int, done: threading.Event) -> dict[str, Any]:
        """Numbered calls from one thread, `in_flight` at once, until told: how many were begun, how many failed, and how many replies were
        not those of their calls."""
        data, begun, failed, wrong = bytes(size), 0, [], 0
        open_calls: deque[tuple[str, Any]] = deque()

        def settle() -> None:
            nonlocal wrong
            tag, call = open_calls.popleft()
            try:
                reply = call.result()
                wrong += reply.tag != tag or len(reply.data) != size
            except mrpc.RpcError as error:
                failed.append(f"{error.code().name}: {error.details()}")

        while not done.is_set():
            while len(open_calls) < in_flight:
                tag = f"{name}:{begun}"
                open_calls.append((tag, self._first.future(self._payload(data=data, tag=tag), timeout=CALL_SECONDS)))
                begun += 1
            settle()
        while open_calls:
            settle()
        return {"begun": begun, "failed": len(failed), "why": sorted(set(failed))[:3], "wrong": wrong}

    def account(self, name: str) -> dict[str, int]:
        """What the server knows of the numbered calls of `name`."""
        found: dict[str, int] = json.loads(self._first(self._payload(tag=f"?{name}"), timeout=CALL_SECONDS).tag)
        return found

    def details(self, tag: str) -> str:
        """What a call with this tag is refused with; "" when it is let pass."""
        try:
            self._first(self._payload(tag=tag), timeout=CALL_SECONDS)
        except mrpc.RpcError as error:
            return str(error.details())
        return ""

    def granted(self, rate: float, begins: float, ends: float) -> dict[str, int]:
        """Calls at a constant rate; how many of those between two moments (time.monotonic()) were let pass, and how many refused."""
        counts = {"granted": 0, "denied": 0}
        start, at = time.monotonic(), 0
        while (due := start + at / rate) < ends:
            at += 1
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            result = self._granted_once()
            if begins <= due:
                counts[result] += 1
        return counts

    def _granted_once(self) -> str:
        try:
            self._first(self._payload(), timeout=CALL_SECONDS)
        except mrpc.RpcError as error:
            if error.code() is not mrpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return "denied"
        return "granted"
