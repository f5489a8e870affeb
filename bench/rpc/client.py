"""`python -m bench.rpc.client SYSTEM GENERATED TARGET [--aio]`: the measured client, the same for every system.

Reads one JSON object a line, {"work": NAME, ...arguments}, does the work, and answers with one JSON object a line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from bench.rpc import binding
from bench.rpc.works import AioWorks, Works


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=("mrpc", "grpc"))
    parser.add_argument("generated")
    parser.add_argument("target")
    parser.add_argument("--aio", action="store_true")
    flags = parser.parse_args()
    bound = binding.load(flags.system, flags.generated)
    try:
        if flags.aio:
            asyncio.run(serve_aio(bound, flags.target))
        else:
            serve(bound, flags.target)
    except bound.rpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")


def serve(bound: binding.Binding, target: str) -> None:
    channel = bound.rpc.insecure_channel(target, options=bound.options)
    works = Works(bound, bound.EchoStub(channel))
    works.ready()
    print("ready", flush=True)
    for line in sys.stdin:
        answer(works, line)


async def serve_aio(bound: binding.Binding, target: str) -> None:
    async with bound.rpc.aio.insecure_channel(target, options=bound.options) as channel:
        works = AioWorks(bound, bound.EchoStub(channel))
        await works.ready()
        print("ready", flush=True)
        while line := sys.stdin.readline():  # nothing else runs on this loop meanwhile
            order = json.loads(line)
            report(await getattr(works, order.pop("work"))(**order))


def answer(works: Works, line: str) -> None:
    order = json.loads(line)
    report(getattr(works, order.pop("work"))(**order))


def report(result: Any) -> None:
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
