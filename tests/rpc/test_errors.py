"""How calls fail, and what the caller is told."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import mrpc
import pytest


def failure(stub: Any, echo: Any, command: str, text: str = "x") -> Any:
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Echo(echo.EchoRequest(command=command, text=text), timeout=30)
    return raised.value


def test_abort_ends_the_call_with_its_status(stub: Any, echo: Any) -> None:
    error = failure(stub, echo, "abort", "cat")
    assert (error.code(), error.details()) == (mrpc.StatusCode.NOT_FOUND, "no such cat")
    assert isinstance(error, mrpc.Call) and "no such cat" in error.debug_error_string()


def test_abort_counts_even_when_the_handler_swallows_it(stub: Any, echo: Any) -> None:
    assert failure(stub, echo, "abort_swallowed").code() is mrpc.StatusCode.NOT_FOUND


def test_status_details_travel(stub: Any, echo: Any) -> None:
    error = failure(stub, echo, "rich")
    assert error.code() is mrpc.StatusCode.FAILED_PRECONDITION
    assert error.status_details() == b"\x08\x09\x12\x04rich"
    assert ("grpc-status-details-bin", b"\x08\x09\x12\x04rich") in error.trailing_metadata()
    assert ("other", "1") in error.trailing_metadata()


def test_an_exception_in_a_handler_is_unknown_and_logged(stub: Any, echo: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "mrpc.server"):
        error = failure(stub, echo, "raise", "boom")
    assert (error.code(), error.details()) == (mrpc.StatusCode.UNKNOWN, "Exception calling application: 'boom'")
    assert "KeyError" in caplog.text
    assert stub.Echo(echo.EchoRequest(text="alive"), timeout=30).text == "alive"


def test_set_code_drops_the_reply(stub: Any, echo: Any, servicer: Any) -> None:
    error = failure(stub, echo, "set_code")
    assert (error.code(), error.details()) == (mrpc.StatusCode.RESOURCE_EXHAUSTED, "set, not raised")
    assert servicer.seen == (mrpc.StatusCode.RESOURCE_EXHAUSTED, "set, not raised")


def test_a_reply_of_another_type_is_internal(stub: Any, echo: Any) -> None:
    error = failure(stub, echo, "wrong_type")
    assert error.code() is mrpc.StatusCode.INTERNAL and "EchoRequest, not a EchoReply" in error.details()


def test_a_method_that_is_not_implemented(stub: Any, echo: Any) -> None:
    with pytest.raises(mrpc.RpcError) as raised:
        stub.Missing(echo.EchoRequest(), timeout=30)
    assert raised.value.code() is mrpc.StatusCode.UNIMPLEMENTED


def test_a_future_raises_what_the_call_would(stub: Any, echo: Any) -> None:
    call = stub.Echo.future(echo.EchoRequest(command="abort"), timeout=30)
    assert call.exception(30).code() is call.code() is mrpc.StatusCode.NOT_FOUND
    with pytest.raises(mrpc.RpcError):
        call.result()


def test_errors_can_be_pickled(stub: Any, echo: Any) -> None:
    error = pickle.loads(pickle.dumps(failure(stub, echo, "rich")))
    assert (error.code(), error.details()) == (mrpc.StatusCode.FAILED_PRECONDITION, "rich")


def test_no_daemon_says_what_to_do(echo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(tmp_path))
    with mrpc.channel("mrpc:///echo.Echo") as channel, pytest.raises(mrpc.RpcError) as raised:
        echo.EchoStub(channel).Echo(echo.EchoRequest(), timeout=30)
    assert raised.value.code() is mrpc.StatusCode.UNAVAILABLE
    assert str(tmp_path) in raised.value.details() and "mrpcd" in raised.value.details()


def test_nobody_offers_the_service(daemon: Any, echo: Any) -> None:
    with mrpc.channel("mrpc:///no.such.Service") as channel, pytest.raises(mrpc.RpcError) as raised:
        echo.EchoStub(channel).Echo(echo.EchoRequest(), timeout=30)
    assert raised.value.code() in (mrpc.StatusCode.UNAVAILABLE, mrpc.StatusCode.NOT_FOUND)
