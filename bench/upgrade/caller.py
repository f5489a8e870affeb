"""`python -m bench.upgrade.caller GENERATED NAME THREADS BYTES`: closed loop, `THREADS` calls open at a time.

Answers each line of input: "mark" gives what happened since the last one, as JSON: {calls, failed, errors, worst_ms}. At the
end of input it ends its calls and gives the sum in the same form, with the last number of each thread."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import mrpc

from bench.upgrade import generated

CALL_SECONDS = 60
ERRORS_SHOWN = 3


class Loop:
    """One thread's calls, one after the other."""

    def __init__(self, made: Any, channel: Any, name: str, size: int) -> None:
        self.name, self.number = name, 0
        self.calls = self.failed = self.wrong = 0
        self.worst_s = 0.0
        self.begun_s = 0.0  # of the call that is open
        self.errors: list[str] = []
        self.stopping = False
        self._made, self._stub, self._data = made, made.SequenceStub(channel), bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.stopping:
            self.begun_s = time.monotonic()
            self.number += 1
            try:
                reply = self._stub.Next(self._made.Step(caller=self.name, number=self.number, data=self._data), timeout=CALL_SECONDS)
                self.wrong += reply.number != self.number or reply.data != self._data
                self.calls += 1
            except mrpc.RpcError as error:
                self.failed += 1
                if len(self.errors) < ERRORS_SHOWN:
                    self.errors.append(f"{error.code().name}: {error.details()}")
            self.worst_s = max(self.worst_s, time.monotonic() - self.begun_s)

    def take(self) -> dict[str, Any]:
        """Since the last time. A call that is open counts for the time that it has waited."""
        worst_s = max(self.worst_s, time.monotonic() - self.begun_s)
        taken = {"calls": self.calls, "failed": self.failed, "wrong": self.wrong, "errors": self.errors, "worst_ms": worst_s * 1e3}
        self.calls = self.failed = self.wrong = 0
        self.worst_s, self.errors = 0.0, []
        return taken


def add_up(parts: list[dict[str, Any]]) -> dict[str, Any]:
    summed: dict[str, Any] = {key: sum(part[key] for part in parts) for key in ("calls", "failed", "wrong")}
    summed["errors"] = [error for part in parts for error in part["errors"]][:ERRORS_SHOWN]
    summed["worst_ms"] = max(part["worst_ms"] for part in parts)
    return summed


def main() -> None:
    made = generated.load(sys.argv[1])
    name, threads, size = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    channel = mrpc.insecure_channel("mrpc:///upgrade.Sequence")
    mrpc.channel_ready_future(channel).result(CALL_SECONDS)
    loops = [Loop(made, channel, f"{name}/{i}", size) for i in range(threads)]
    for loop in loops:
        loop.thread.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(add_up([loop.take() for loop in loops])), flush=True)
    for loop in loops:
        loop.stopping = True
    for loop in loops:
        loop.thread.join()
    print(json.dumps(add_up([loop.take() for loop in loops]) | {"last": {loop.name: loop.number for loop in loops}}), flush=True)


if __name__ == "__main__":
    main()
