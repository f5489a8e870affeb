"""`python -m tests.service.steady_caller THREADS`: calls test.Greeter/Greet for "ann" without a pause, until its input ends.

Each line of input is answered by the number of calls so far, when that has grown by at least 20. At the end it prints, as JSON, how
often each reply came, and each failure."""

from __future__ import annotations

import collections
import json
import sys
import threading

import mrpc

from mrpc_service.dynamic import load_service

from .greeter import SERVICE, schema

STEP = 20


class Calls:
    def __init__(self) -> None:
        self.replies: collections.Counter[str] = collections.Counter()
        self.more = threading.Condition()
        self.stopping = False

    def run(self, call: mrpc.UnaryUnaryMultiCallable, request: object) -> None:
        while not self.stopping:
            try:
                said = call(request, timeout=30).text
            except mrpc.RpcError as error:
                said = f"{error.code().name}: {error.details()}"
            with self.more:
                self.replies[said] += 1
                self.more.notify()

    def wait_more(self) -> int:
        with self.more:
            goal = self.replies.total() + STEP
            self.more.wait_for(lambda: self.replies.total() >= goal)
            return self.replies.total()


def main() -> None:
    method = load_service(schema(), SERVICE).method("Greet")
    request = method.request_from_json('{"name": "ann"}')
    calls = Calls()
    with mrpc.channel(f"mrpc:///{SERVICE}") as channel:
        call = channel.unary_unary(method.info)
        threads = [threading.Thread(target=calls.run, args=(call, request)) for _ in range(int(sys.argv[1]))]
        for thread in threads:
            thread.start()
        for _ in sys.stdin:
            print(calls.wait_more(), flush=True)
        calls.stopping = True
        for thread in threads:
            thread.join()
    print(json.dumps(calls.replies))


if __name__ == "__main__":
    main()
