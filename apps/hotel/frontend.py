"""The HTTP side: the benchmark's four paths, the page, health and metrics, on Starlette.

Flows answer; this module reads parameters (query, or a form's body on POST) and turns every outcome into a status code
and a text. With asyncio stubs flows run on the server's loop, with blocking stubs in a pool of threads.
"""
from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from .colour import run_now
from .flows import Flows, Params, Refused
from .rpc import rpc

BODY_MAX = 64 * 1024
PAGE = Path(__file__).parent / "page.html"
# Who may read what a page of another origin asked for: as in the benchmark, anybody. Nothing here rests on cookies.
HEADERS = {"access-control-allow-origin": "*"}

HTTP_STATUS = {
    rpc.StatusCode.INVALID_ARGUMENT: 400, rpc.StatusCode.UNAUTHENTICATED: 401, rpc.StatusCode.PERMISSION_DENIED: 403,
    rpc.StatusCode.NOT_FOUND: 404, rpc.StatusCode.RESOURCE_EXHAUSTED: 429, rpc.StatusCode.UNAVAILABLE: 503,
    rpc.StatusCode.DEADLINE_EXCEEDED: 504,
}

requests_total = Counter("hotel_http_requests", "Requests answered", ["route", "code"])
request_seconds = Histogram("hotel_http_request_seconds", "Time from request to answer", ["route"])
log = logging.getLogger(__name__)

Opener = Callable[[], Awaitable[Flows]]
Run = Callable[..., Awaitable[dict]]


def make_app(open_flows: Opener, *, threads: int) -> Starlette:
    """The application. open_flows runs on the server's loop; threads is 0 for asyncio stubs."""
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.flows = await open_flows()
        app.state.run = run_in_threads(threads) if threads else run_on_loop
        yield

    routes = [_route(name, methods) for name, methods in (
        ("hotels", ["GET"]), ("recommendations", ["GET"]), ("user", ["GET", "POST"]), ("reservation", ["GET", "POST"]))]
    routes += [Route("/", page), Route("/health", health), Route("/metrics", metrics)]
    return Starlette(routes=routes, lifespan=lifespan)


def run_in_threads(threads: int) -> Run:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="flow")

    async def run(flow: Callable[[Params], Awaitable[dict]], params: Params) -> dict:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: run_now(flow(params)))
    return run


async def run_on_loop(flow: Callable[[Params], Awaitable[dict]], params: Params) -> dict:
    return await flow(params)


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE.read_text())


async def health(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def metrics(request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _route(name: str, methods: list[str]) -> Route:
    seconds = request_seconds.labels(name)
    counters = {}

    async def endpoint(request: Request) -> Response:
        begin = time.perf_counter()
        response = await _answer(request, name)
        seconds.observe(time.perf_counter() - begin)
        code = response.status_code
        if code not in counters:
            counters[code] = requests_total.labels(name, str(code))
        counters[code].inc()
        return response
    return Route(f"/{name}", endpoint, methods=methods)


async def _answer(request: Request, name: str) -> Response:
    try:
        state = request.app.state
        reply = await state.run(getattr(state.flows, name), await _params(request))
        return Response(json.dumps(reply), headers=HEADERS, media_type="application/json")
    except Refused as error:
        return _text(400, str(error))
    except rpc.RpcError as error:
        return _text(HTTP_STATUS.get(error.code(), 500), f"{error.code().name}: {error.details()}")
    except Exception as error:
        log.exception("A request failed")
        return _text(500, f"{type(error).__name__}: {error}")


def _text(status: int, text: str) -> Response:
    return PlainTextResponse(text + "\n", status, HEADERS)


async def _params(request: Request) -> Params:
    """The query's parameters, and on POST the form's, which keeps a password out of the address."""
    if request.method != "POST":
        return request.query_params
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            raise Refused(f"the form is larger than {BODY_MAX} bytes")
    return {**request.query_params, **dict(parse_qsl(body.decode(errors="replace")))}
