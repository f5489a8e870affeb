"""Two daemons over TCP: one is killed, and strangers write to the port. Nothing here needs a second user."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mrpc
import pytest

from .conftest import CAP_S, Host, Neighbour

HEADER = struct.Struct("<IBBHIIQQQII")  # WireHeader of native/transport/session/frame.h
HELLO, DATA, GOAWAY = 1, 3, 7
MAGIC = 0x5752506D


class Pair:
    """`far` serves echo.Echo and listens; `near` has joined it."""

    def __init__(self, far: Host, near: Host, address: str) -> None:
        self.far, self.near = far, near
        self.text_address = address
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))


@pytest.fixture(scope="module")
def pair(public: Any, generated: Any) -> Iterator[Pair]:
    from .conftest import host

    with host(public, "--node", "far", "--listen", "127.0.0.1:0", "--insecure") as far:
        address = far.ask("status")["listen"]
        with host(public, "--node", "near", "--peer", address) as near:
            yield Pair(far, near, address)


@pytest.fixture(scope="module")
def server(pair: Pair, generated: Any) -> Iterator[Neighbour]:
    started = Neighbour(pair.far, generated, "serve")
    assert started.said == "ready"
    yield started
    started.close()


@pytest.fixture(scope="module")
def client(pair: Pair, server: Neighbour, generated: Any) -> Iterator[Neighbour]:
    """Calls through both daemons."""
    until_known(pair.near)
    started = Neighbour(pair.near, generated, "call")
    assert started.said == "ready"
    yield started
    started.close()


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"


def until_known(host: Host) -> None:
    """Until `host` has heard of the service; each question is a call to the daemon, so there is no need to sleep."""
    while not any(service["endpoints"] for service in host.ask("services")):
        pass


@pytest.fixture
def unharmed(pair: Pair, client: Neighbour) -> Iterator[None]:
    assert client.call(1) == "ok"
    pids = pair.far.pid, pair.near.pid
    yield
    assert pair.far.alive() and pair.near.alive() and (pair.far.pid, pair.near.pid) == pids, pair.far.log()[-3000:]
    assert client.call() == "ok"


def said_to_the_end(connection: socket.socket) -> bytes:
    """Everything until the daemon hangs up."""
    heard = b""
    try:
        while part := connection.recv(65536):
            heard += part
    except ConnectionResetError:
        pass
    return heard


def header(kind: int, payload_bytes: int, **fields: int) -> bytes:
    """With a check that is wrong: what a stranger who does not know the sum can say."""
    values = {"flags": 0, "message_id": 0, "sequence": 0, "ack": 0, "consumed": 0} | fields
    return HEADER.pack(MAGIC, kind, values["flags"], 0, payload_bytes, values["message_id"], values["sequence"], values["ack"],
                       values["consumed"], 0, 0)  # fmt: skip


STRANGERS: dict[str, bytes] = {
    "garbage": random.Random(1).randbytes(100_000),
    "zeros": bytes(100_000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "a header without its sum": header(HELLO, 80) + bytes(80),
    "a length of 4 GiB": header(HELLO, 2**32 - 1) + bytes(1000),
    "data before hello": header(DATA, 100) + bytes(100),
    "an unknown type": header(200, 0),
}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_frame_costs_its_own_connection(pair: Pair, name: str) -> None:
    with socket.create_connection(pair.address, CAP_S) as stranger:
        try:
            stranger.sendall(STRANGERS[name])
        except (BrokenPipeError, ConnectionResetError):
            return
        said_to_the_end(stranger)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("sent", [1, 20, 47, 48, 60])
def test_a_truncated_hello_is_given_up_when_the_stranger_goes(pair: Pair, sent: int) -> None:
    before = pair.far.descriptors()
    recorded = first_bytes_of_a_daemon(pair)
    for _ in range(20):
        with socket.create_connection(pair.address, CAP_S) as stranger:
            stranger.sendall(recorded[:sent])
    while pair.far.descriptors() > before + 2:  # of the questions themselves
        pair.far.ask("status")


def first_bytes_of_a_daemon(pair: Pair) -> bytes:
    """What `near` would say first: a listener of ours records it."""
    from .conftest import host

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(CAP_S)
        address = address_of(listener)
        with host(pair.near.runtime_dir.parent, "--node", "talker", "--peer", address):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(CAP_S)
                return connection.recv(65536)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.cap_s(20)
@pytest.mark.parametrize("seed", range(3))
def test_a_true_hello_and_then_noise(pair: Pair, seed: int) -> None:
    generator = random.Random(seed)
    with socket.create_connection(pair.address, CAP_S) as stranger:
        stranger.sendall(first_bytes_of_a_daemon(pair))
        assert stranger.recv(65536)  # it was welcomed
        try:
            stranger.sendall(generator.randbytes(200_000))
            said_to_the_end(stranger)
        except (BrokenPipeError, ConnectionResetError):
            return


@pytest.mark.usefixtures("unharmed")
@pytest.mark.cap_s(20)
def test_a_hello_with_one_bit_flipped(pair: Pair) -> None:
    hello = first_bytes_of_a_daemon(pair)
    generator = random.Random(7)
    for _ in range(100):
        flipped = bytearray(hello)
        flipped[generator.randrange(len(flipped))] ^= 1 << generator.randrange(8)
        with socket.create_connection(pair.address, CAP_S) as stranger:
            stranger.sendall(flipped)
            stranger.shutdown(socket.SHUT_WR)
            said_to_the_end(stranger)


@pytest.mark.usefixtures("unharmed")
def test_silent_strangers_keep_nobody_out(pair: Pair, client: Neighbour) -> None:
    strangers = [socket.create_connection(pair.address, CAP_S) for _ in range(500)]
    try:
        assert client.call() == "ok"
        assert pair.far.ask("status")["state"] == "ready"
    finally:
        for stranger in strangers:
            stranger.close()


@pytest.mark.usefixtures("unharmed")
@pytest.mark.cap_s(20)
def test_garbage_from_the_accepting_side(pair: Pair, public: Any) -> None:
    """A daemon joins something that is no daemon: it says so in `mrpc peers`, and serves on."""
    from .conftest import host

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(CAP_S)
        with host(public, "--peer", address_of(listener)) as caller:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(os.urandom(100_000))
            (peer,) = caller.ask("peers")
            assert peer["state"] != "up"
            assert caller.ask("status")["state"] == "ready"


@pytest.mark.cap_s(20)
def test_a_peer_with_more_shards_is_served(pair: Pair, server: Neighbour, start_host: Any, start_neighbour: Any) -> None:
    near = start_host("--node", "wide", "--shards", "3", "--peer", pair.text_address)
    until_known(near)
    assert start_neighbour(near, "call").call() == "ok"
    assert pair.far.ask("status")["state"] == "ready"


@pytest.mark.cap_s(40)
def test_a_killed_peer_daemon_is_unavailable_and_comes_back(
    start_host: Callable[..., Host], start_neighbour: Any, echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = address_of(probe)
    far = start_host("--node", "far", "--listen", address, "--insecure")
    near = start_host("--node", "near", "--peer", address)
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(near.runtime_dir))
    server, local = start_neighbour(far, "serve"), start_neighbour(far, "call")
    assert (server.said, local.said) == ("ready", "ready")
    until_known(near)
    with mrpc.channel("mrpc:///echo.Echo") as channel, ThreadPoolExecutor(1) as threads:
        stub = echo.EchoStub(channel)
        assert stub.Echo(echo.EchoRequest(text="there"), timeout=CAP_S).text == "there"
        call = threads.submit(lambda: stub.Echo(echo.EchoRequest(command="wait"), timeout=60))
        while not near.ask("status")["open_calls"]:
            pass
        far.kill()
        error = call.exception(20)
        assert isinstance(error, mrpc.RpcError) and error.code() is mrpc.StatusCode.UNAVAILABLE
        assert near.ask("status")["state"] == "ready"
        far.start()
        until_known(near)
        assert stub.Echo(echo.EchoRequest(text="back"), timeout=CAP_S).text == "back"
