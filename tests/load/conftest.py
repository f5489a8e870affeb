"""Real servers for the generator to drive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from mrpc_service.load import native


@pytest.fixture(autouse=True, scope="session")
def binary() -> str:
    try:
        return native.find_binary()
    except native.LoadError as absent:
        pytest.skip(str(absent))


class Handler(BaseHTTPRequestHandler):
    """/status/N answers N; /close answers and closes; /drop closes without a word; /chunked answers in chunks; /gate waits."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for each reply: two would wait for a delayed acknowledgement
    gate: threading.Event
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/drop":
            self.close_connection = True
            return
        if self.path == "/gate":
            self.gate.wait()
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")
            return
        self.send_response(int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200)
        self.send_header("Content-Length", "2")
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        pass


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[str] = []
        super().__init__(("127.0.0.1", 0), type("Bound", (Handler,), {"gate": self.gate, "seen": self.seen}))
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    with HttpServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


GrpcMethod = Callable[[bytes, grpc.ServicerContext], bytes]


@pytest.fixture
def grpc_server() -> Iterator[Callable[[GrpcMethod], str]]:
    """Call it with a method on raw bytes: serves that as /test.Test/Call and returns the target's URL."""
    servers = []

    def serve(method: GrpcMethod) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {"Call": grpc.unary_unary_rpc_method_handler(method)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"grpc://127.0.0.1:{port}/test.Test/Call"

    yield serve
    for server in servers:
        server.stop(None).wait()
