"""`python -m bench.policy.client GENERATED SERVICE`: the measured client.

Reads one JSON object a line, {"work": NAME, ...arguments}, does the work, and answers with one JSON object a line; with "until_told": true it
answers after the next line, whatever that holds."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import mrpc

from bench.policy import binding
from bench.policy.works import Works


def main() -> None:
    made = binding.load(sys.argv[1])
    service = sys.argv[2]
    with mrpc.insecure_channel(f"mrpc:///{binding.PACKAGE}.{service}") as channel:
        works = Works(made, getattr(made, f"{service}Stub")(channel))
        works.ready()
        print("ready", flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            print(json.dumps(do(works, order)), flush=True)


def do(works: Works, order: dict[str, Any]) -> Any:
    work = getattr(works, order.pop("work"))
    if not order.pop("until_told", False):
        return work(**order)
    done = threading.Event()
    found: list[Any] = []
    worker = threading.Thread(target=lambda: found.append(work(done=done, **order)))
    worker.start()
    sys.stdin.readline()
    done.set()
    worker.join()
    if not found:
        raise RuntimeError("the work failed")
    return found[0]


if __name__ == "__main__":
    main()
