"""Metadata in both directions, and what is refused."""

from __future__ import annotations

from typing import Any

import mrpc
import pytest


def test_metadata_travels_both_ways(stub: Any, echo: Any, servicer: Any) -> None:
    sent = [("key", "value"), ("key", "again"), ("data-bin", b"\x00\xff")]
    _, call = stub.Echo.with_call(echo.EchoRequest(command="metadata"), metadata=sent, timeout=30)
    assert [pair for pair in servicer.seen if pair in sent] == sent
    assert call.initial_metadata() == (("first", "1"), ("first-bin", b"\x00\xff"))
    assert call.trailing_metadata() == (("last", "2"), ("last-bin", b"\xfe"))
    assert call.initial_metadata()[0].key == "first"


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        ([("Upper", "x")], ValueError),
        ([("", "x")], ValueError),
        ([("key", "line\nbreak")], ValueError),
        ([("data-bin", "text")], TypeError),
        ([("key", 7)], TypeError),
        ([("key",)], ValueError),
        (7, TypeError),
    ],
)
def test_bad_metadata_is_refused_before_the_call(stub: Any, echo: Any, pairs: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        stub.Echo(echo.EchoRequest(), metadata=pairs, timeout=30)


def test_too_much_metadata_is_refused(stub: Any, echo: Any) -> None:
    with pytest.raises(mrpc.RpcError, match="metadata of .* over the limit") as raised:
        stub.Echo(echo.EchoRequest(), metadata=[("key", "x" * 9000)], timeout=30)
    assert raised.value.code() is mrpc.StatusCode.RESOURCE_EXHAUSTED


def test_credentials_add_metadata(server: Any, echo: Any, servicer: Any) -> None:
    channel_credentials = mrpc.composite_channel_credentials(
        mrpc.ssl_channel_credentials(), mrpc.access_token_call_credentials("one")
    )
    asked = []

    def plugin(context: Any, callback: Any) -> None:
        asked.append((context.service_url, context.method_name))
        callback([("two", "2")], None)

    with mrpc.secure_channel("localhost:1", channel_credentials) as channel:
        credentials = mrpc.metadata_call_credentials(plugin)
        echo.EchoStub(channel).Echo(
            echo.EchoRequest(command="metadata"), credentials=credentials, metadata=[("own", "3")], timeout=30
        )
    assert {("authorization", "Bearer one"), ("two", "2"), ("own", "3")} <= set(servicer.seen)
    assert asked == [("mrpc:///echo.Echo", "Echo")]


def test_handlers_are_told_who_calls_only_by_the_daemon(stub: Any, echo: Any) -> None:
    reply = stub.Echo(echo.EchoRequest(command="peer"), metadata=[("mrpc-app", "forged")], timeout=30)
    assert reply.text.startswith("mrpc:") and "forged" not in reply.text
