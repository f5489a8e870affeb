"""A well-written client that asks for too much: the call fails with a reason, the next one passes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import mrpc
import pytest

from .conftest import CAP_S, Host, Neighbour

DAEMON = "apiVersion: mrpc/v1alpha1\nkind: Daemon\nspec: {send_quota_bytes: 33554432, receive_quota_bytes: 33554432, message_bytes_max: 8388608}\n"


@pytest.fixture(scope="module")
def small(public: Any) -> Iterator[Host]:
    """A daemon with small limits."""
    from .conftest import host

    config = public / "small.yaml"
    config.write_text(DAEMON)
    with host(public, "--config", str(config)) as running:
        yield running


@pytest.fixture
def stub(small: Host, generated: Any, echo: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Of a neighbour's server; its own calls pass after the test."""
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(small.runtime_dir))
    neighbour = Neighbour(small, generated)
    assert neighbour.call(1) == "ok"
    with mrpc.channel("mrpc:///echo.Echo") as channel:
        yield echo.EchoStub(channel)
    assert neighbour.call() == "ok" and small.alive()
    neighbour.close()


def test_a_message_over_the_limit(stub: Any, echo: Any) -> None:
    for _ in range(3):
        with pytest.raises(mrpc.RpcError) as raised:
            stub.Echo(echo.EchoRequest(payload=b"x" * (9 << 20)), timeout=CAP_S)
        assert raised.value.code() is mrpc.StatusCode.RESOURCE_EXHAUSTED and "limit" in raised.value.details()
        assert len(stub.Echo(echo.EchoRequest(payload=b"x" * (7 << 20)), timeout=CAP_S).payload) == 7 << 20


def test_a_send_quota_that_is_used_up(stub: Any, echo: Any) -> None:
    stub.Echo(echo.EchoRequest(text="attached"), timeout=CAP_S)
    held = []
    with pytest.raises((MemoryError, mrpc.RpcError)):
        while len(held) < 100:
            held.append(mrpc.empty(1 << 20, "uint8"))
    assert 16 <= len(held) <= 64
    held.clear()
    gc.collect()
    assert len(stub.Echo(echo.EchoRequest(payload=b"x" * (4 << 20)), timeout=CAP_S).payload) == 4 << 20


def test_replies_that_are_kept_use_up_the_receive_quota_of_their_keeper_only(stub: Any, echo: Any, small: Host, start_neighbour: Any) -> None:
    kept = []
    with pytest.raises(mrpc.RpcError) as raised:
        while len(kept) < 100:
            kept.append(stub.Echo(echo.EchoRequest(payload=b"x" * (1 << 20)), timeout=1 if len(kept) > 24 else CAP_S))
    assert raised.value.code() in (mrpc.StatusCode.DEADLINE_EXCEEDED, mrpc.StatusCode.RESOURCE_EXHAUSTED)
    assert start_neighbour(small, "call").call() == "ok"
    kept.clear()
    gc.collect()
    assert len(stub.Echo(echo.EchoRequest(payload=b"x" * (1 << 20)), timeout=CAP_S).payload) == 1 << 20
