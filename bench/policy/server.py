"""`python -m bench.policy.server GENERATED SERVICE [THREADS]`: echoes until it is ended, and keeps account of numbered calls.

A call whose tag is "NAME:NUMBER" is the NUMBERth of NAME. With one thread, calls are served in the order in which they were handed over. The
tag "?NAME" asks what came of NAME: the reply's tag is JSON, {"calls", "repeated", "skipped", "late"}."""

from __future__ import annotations

import argparse
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import mrpc

from bench.policy import binding


@dataclass
class Account:
    """Of one caller's numbered calls."""

    calls: int = 0
    repeated: int = 0  # a number for the second time
    skipped: int = 0   # numbers that had not come when a later one came
    late: int = 0      # of these, those that came after all: out of order

    def __post_init__(self) -> None:
        self._next = 0
        self._missing: set[int] = set()

    def add(self, number: int) -> None:
        self.calls += 1
        if number >= self._next:
            self._missing.update(range(self._next, number))
            self.skipped += number - self._next
            self._next = number + 1
        elif number in self._missing:
            self._missing.remove(number)
            self.late += 1
        else:
            self.repeated += 1


class Echo:
    def __init__(self, made: Any) -> None:
        self._made, self._lock, self._accounts = made, threading.Lock(), dict[str, Account]()

    def Call(self, request: Any, context: Any) -> Any:
        tag = request.tag
        if tag.startswith("?"):
            return self._made.Payload(tag=json.dumps(asdict(self._accounts.get(tag[1:], Account()))))
        if ":" in tag:
            name, _, number = tag.partition(":")
            with self._lock:
                self._accounts.setdefault(name, Account()).add(int(number))
        return self._made.Payload(data=request.data, tag=tag)

    Bulk = Call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("generated")
    parser.add_argument("service", choices=("Echo", "Store"))
    parser.add_argument("threads", nargs="?", type=int, default=4)
    flags = parser.parse_args()
    made = binding.load(flags.generated)
    server = mrpc.server(ThreadPoolExecutor(flags.threads))
    servicer = type("Servicer", (Echo, getattr(made, f"{flags.service}Servicer")), {})(made)
    getattr(made, f"add_{flags.service}Servicer_to_server")(servicer, server)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
