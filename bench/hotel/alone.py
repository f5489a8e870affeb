"""`python -m bench.hotel.alone frontend|search REQUESTS SECONDS`: what the application costs by itself.

The same servicers and flows in one process and one thread: a call of a service is a call of its method. Messages are those of
HOTEL_RPC; there is no RPC and no HTTP. Prints CPU microseconds for one request."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from apps.hotel.cache import open_cache
from apps.hotel.colour import run_now
from apps.hotel.flows import Flows
from apps.hotel.rpc import pb
from apps.hotel.service import SERVICES, Parts
from bench.hotel.loads import search_lines, search_request

WARMUP_SHARE = 0.2


async def call(method: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    return await method(request)


def build(folder: Path) -> dict[str, Any]:
    """Servicers by name, with one another in place of stubs."""
    servicers: dict[str, Any] = {}
    for name, service in SERVICES.items():  # those that search needs stand before it
        servicers[name] = service.servicer(Parts(folder, open_cache(None), call, servicers))
    return servicers


def frontend_works(servicers: dict[str, Any], path: Path) -> list[Callable[[], Any]]:
    flows = Flows(servicers, call)

    def work(line: str) -> Callable[[], Any]:
        target = urlsplit(line.split()[1])
        flow, query = getattr(flows, target.path.strip("/")), target.query
        return lambda: json.dumps(run_now(flow(dict(parse_qsl(query)))))

    return [work(line) for line in path.read_text().splitlines()]


def search_works(servicers: dict[str, Any], path: Path) -> list[Callable[[], Any]]:
    def work(fields: dict[str, Any]) -> Callable[[], Any]:
        return lambda: run_now(servicers["search"].Nearby(pb.SearchRequest(**fields)))

    return [work(search_request(line)) for line in search_lines(path)]


def cpu_us(works: list[Callable[[], Any]], seconds: float) -> float:
    order = cycle(works)
    repeat(order, seconds * WARMUP_SHARE)
    began = time.process_time()
    done = repeat(order, seconds)
    return (time.process_time() - began) * 1e6 / done


def repeat(order: Iterator[Callable[[], Any]], seconds: float) -> int:
    ends, done = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        next(order)()
        done += 1
    return done


def main() -> None:
    kind, path, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="hotel-alone-") as folder:
        servicers = build(Path(folder))
        works = {"frontend": frontend_works, "search": search_works}[kind](servicers, path)
        print(cpu_us(works, seconds))


if __name__ == "__main__":
    main()
