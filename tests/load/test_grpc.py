from __future__ import annotations

import itertools
import socket
import struct
import threading
from concurrent import futures

import grpc
import pytest

from mrpc_service.load import native
from mrpc_service.load.requests import write_payloads

FAST = ["--rate", "1000", "--warmup", "0"]


def run(url: str, *arguments: str) -> dict:
    return native.run([url, *FAST, *arguments])


def test_echo_carries_the_payload(grpc_server, tmp_path):
    seen = []
    url = grpc_server(lambda request, context: seen.append(request) or request)
    payloads = [b"small", b"", b"x" * 300_000]
    write_payloads(payloads, tmp_path / "payloads")
    counted = run(url, "--count", "60", "--payloads", str(tmp_path / "payloads"))
    assert counted["status_codes"] == {"OK": 60}
    assert set(seen) == set(payloads) and len(seen) == 60


def test_metadata_and_deadline_reach_the_server(grpc_server):
    seen = []

    def method(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append((dict(context.invocation_metadata()).get("x-run"), context.time_remaining()))
        return request

    run(grpc_server(method), "--count", "1", "--metadata", "x-run: seven", "--timeout", "33")
    [(value, remaining)] = seen
    assert value == "seven"
    assert 20 < remaining <= 33


def test_statuses_are_told_apart(grpc_server):
    codes = itertools.cycle([grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED])
    lock = threading.Lock()

    def method(request: bytes, context: grpc.ServicerContext) -> bytes:
        with lock:
            code = next(codes)
        if code is not grpc.StatusCode.OK:
            context.abort(code, f"because {code.name}")
        return request

    counted = run(grpc_server(method), "--count", "90")
    assert counted["status_codes"] == {"OK": 30, "NotFound": 30, "PermissionDenied": 30}
    assert counted["errors"] == {"because NOT_FOUND": 30, "because PERMISSION_DENIED": 30}


def test_unknown_method_is_unimplemented(grpc_server):
    url = grpc_server(lambda request, context: request)
    assert run(url.replace("/Call", "/Other"), "--count", "5")["status_codes"] == {"Unimplemented": 5}


def test_exception_in_the_server_is_unknown(grpc_server):
    def method(request: bytes, context: grpc.ServicerContext) -> bytes:
        raise ValueError("on purpose")

    assert run(grpc_server(method), "--count", "5")["status_codes"] == {"Unknown": 5}


def test_deadline(grpc_server):
    gate = threading.Event()
    url = grpc_server(lambda request, context: gate.wait() and request)
    try:
        counted = run(url, "--count", "4", "--timeout", "0.05")
    finally:
        gate.set()
    assert counted["status_codes"] == {"DeadlineExceeded": 4}


def test_server_that_goes_away_in_mid_run(grpc_server):
    served = itertools.count()
    reached = threading.Event()

    def method(request: bytes, context: grpc.ServicerContext) -> bytes:
        if next(served) == 50:
            reached.set()
        return request

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "test.Test", {"Call": grpc.unary_unary_rpc_method_handler(method)})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stopper = threading.Thread(target=lambda: reached.wait() and server.stop(None))
    stopper.start()
    counted = run(f"grpc://127.0.0.1:{port}/test.Test/Call", "--count", "500")
    stopper.join()
    assert counted["completed"] == 500
    assert counted["status_codes"]["OK"] >= 50
    assert sum(counted["status_codes"].values()) == 500
    assert counted["status_codes"]["Unavailable"] > 0


def test_connection_refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        counted = run(f"grpc://127.0.0.1:{unused.getsockname()[1]}/test.Test/Call", "--count", "20")
    assert counted["status_codes"] == {"Unavailable": 20}


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


RST_STREAM, SETTINGS = 3, 4


@pytest.mark.parametrize(("error", "status"), [(7, "Unavailable"), (8, "Canceled"), (11, "ResourceExhausted"), (2, "Internal")])
def test_reset_streams_are_mapped_as_grpc_says(error, status):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(frame(SETTINGS, 0, 0) + frame(RST_STREAM, 0, 1, struct.pack(">I", error)))
                while peer.recv(65536):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        counted = run(f"grpc://127.0.0.1:{listener.getsockname()[1]}/a.B/C", "--count", "1")
        thread.join()
    assert counted["status_codes"] == {status: 1}


def test_a_server_that_speaks_something_else_costs_only_the_calls():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.recv(65536)

        thread = threading.Thread(target=answer)
        thread.start()
        counted = run(f"grpc://127.0.0.1:{listener.getsockname()[1]}/a.B/C", "--count", "1")
        thread.join()
    assert counted["status_codes"] == {"Unavailable": 1}
