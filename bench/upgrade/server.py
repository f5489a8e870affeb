"""`python -m bench.upgrade.server GENERATED`: checks every caller's numbers. When its input ends, it prints what it saw as JSON."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mrpc

from bench.upgrade import generated

THREADS = 12  # calls that are held open take one each
HOLD_SECONDS = 300


class Ledger:
    """What came, by caller. A caller has one call open at a time, so its numbers must come one by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._more_held = threading.Condition(self._lock)
        self._last: dict[str, int] = {}
        self.calls = self.lost = self.doubled = 0
        self.held = 0
        self.released = threading.Event()

    def note(self, caller: str, number: int) -> None:
        with self._lock:
            last = self._last.get(caller, 0)
            self.calls += 1
            self.doubled += number <= last
            self.lost += max(0, number - last - 1)
            self._last[caller] = max(last, number)

    def hold(self) -> None:
        with self._more_held:
            self.held += 1
            self._more_held.notify_all()
        self.released.wait(HOLD_SECONDS)

    def wait_held(self, count: int) -> int:
        with self._more_held:
            self._more_held.wait_for(lambda: self.held >= count, HOLD_SECONDS)
            return self.held

    def summary(self) -> dict[str, Any]:
        with self._lock:
            return {"calls": self.calls, "lost": self.lost, "doubled": self.doubled, "held": self.held, "last": self._last}


def main() -> None:
    made = generated.load(sys.argv[1])
    ledger = Ledger()

    class Sequence(made.SequenceServicer):
        def Next(self, request: Any, context: Any) -> Any:
            ledger.note(request.caller, request.number)
            return made.Step(caller=request.caller, number=request.number, data=request.data)

        def Hold(self, request: Any, context: Any) -> Any:
            ledger.note(request.caller, request.number)
            ledger.hold()
            return made.Step(caller=request.caller, number=request.number, data=request.data)

        def Held(self, request: Any, context: Any) -> Any:
            return made.Step(number=ledger.wait_held(request.number))

        def Release(self, request: Any, context: Any) -> Any:
            ledger.released.set()
            return made.Step(number=ledger.held)

    server = mrpc.server(ThreadPoolExecutor(THREADS))
    made.add_SequenceServicer_to_server(Sequence(), server)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(ledger.summary()), flush=True)
    server.stop(None).wait()


if __name__ == "__main__":
    main()
