from __future__ import annotations

import socket
import threading
from collections import Counter

import pytest

from mrpc_service.load import native

FAST = ["--rate", "2000", "--warmup", "0", "--connections", "4"]


def test_counts_statuses(http_server, tmp_path):
    requests = tmp_path / "requests"
    requests.write_text("# a mix\nGET /status/200\nGET /status/404\nPOST /status/503\n\nGET /chunked\n")
    counted = native.run([http_server.url, *FAST, "--count", "200", "--requests", str(requests)])
    served = Counter(http_server.seen)
    assert len(http_server.seen) == counted["completed"] == 200
    assert counted["status_codes"] == {
        "200": served["/status/200"] + served["/chunked"], "404": served["/status/404"], "503": served["/status/503"]}
    assert counted["corrected"]["count"] == counted["status_codes"]["200"]
    assert counted["errors"] == {"status 404": served["/status/404"], "status 503": served["/status/503"]}


def test_seed_decides_the_order(http_server, tmp_path):
    requests = tmp_path / "requests"
    requests.write_text("".join(f"GET /{i}\n" for i in range(10)))
    orders = []
    for seed in ("1", "1", "2"):
        http_server.seen.clear()
        native.run([http_server.url, "--closed", "1", "--warmup", "0", "--count", "50", "--requests", str(requests), "--seed", seed])
        orders.append(list(http_server.seen))
    assert orders[0] == orders[1] != orders[2]


def test_connection_closed_after_each_reply_is_made_again(http_server):
    counted = native.run([f"{http_server.url}/close", *FAST, "--count", "50"])
    assert counted["status_codes"] == {"200": 50}


def test_connection_dropped_without_a_reply_is_an_error(http_server):
    counted = native.run([f"{http_server.url}/drop", *FAST, "--count", "20"])
    assert counted["status_codes"] == {"Unavailable": 20}
    assert sum(counted["errors"].values()) == 20


def test_refused_connection_is_an_error_of_each_call():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        counted = native.run([f"http://127.0.0.1:{port}/", *FAST, "--count", "20"])
    assert counted["status_codes"] == {"Unavailable": 20}
    assert counted["errors"] == {f"cannot connect to 127.0.0.1:{port}: Connection refused": 20}


def test_not_http_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"SSH-2.0-nonsense\r\n")
                peer.recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        counted = native.run([f"http://127.0.0.1:{listener.getsockname()[1]}/", "--closed", "1", "--count", "1", "--warmup", "0"])
        thread.join()
    assert counted["errors"] == {"not an HTTP/1.1 reply": 1}


def test_timeout_is_a_deadline_exceeded_with_its_latency(http_server):
    counted = native.run([f"{http_server.url}/gate", "--rate", "1000", "--warmup", "0", "--count", "4", "--connections", "4", "--timeout", "0.05"])
    assert counted["status_codes"] == {"DeadlineExceeded": 4}
    assert counted["corrected"]["min"] >= 50_000_000


@pytest.mark.parametrize("line", ["GET", "GET x", "GET / HTTP/1.1"])
def test_bad_request_lines_are_refused(http_server, tmp_path, line):
    requests = tmp_path / "requests"
    requests.write_text(line)
    with pytest.raises(native.LoadError, match="METHOD /PATH"):
        native.run([http_server.url, *FAST, "--requests", str(requests)])
