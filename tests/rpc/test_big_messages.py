"""Large messages, the limit, and arrays that are sent without a copy."""

from __future__ import annotations

from typing import Any

import mrpc
import numpy
import pytest

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 16 * 1024, 1 * MIB, 8 * MIB])
def test_bytes_of_any_size(stub: Any, echo: Any, size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    reply = stub.Echo(echo.EchoRequest(payload=payload), timeout=60)
    assert bytes(reply.payload) == payload


def test_nearly_the_limit_passes_and_over_it_is_refused(stub: Any, echo: Any) -> None:
    below = b"x" * (64 * MIB - 4096)
    assert len(stub.Echo(echo.EchoRequest(payload=below), timeout=120).payload) == len(below)
    with pytest.raises(mrpc.RpcError, match="over the limit") as raised:
        stub.Echo(echo.EchoRequest(payload=b"x" * (64 * MIB + 1)), timeout=60)
    assert raised.value.code() is mrpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Echo(echo.EchoRequest(text="still here"), timeout=60).text == "still here"


def test_empty_makes_arrays_that_travel(stub: Any, echo: Any) -> None:
    array = mrpc.empty((512, 1024), "float32")
    assert array.shape == (512, 1024) and array.dtype == numpy.float32 and array.flags.writeable
    array[:] = numpy.arange(array.size, dtype="float32").reshape(array.shape)
    for _ in range(2):  # the same array, any number of times
        reply = stub.Echo(echo.EchoRequest(numbers=array.reshape(-1)), timeout=60)
        numpy.testing.assert_array_equal(numpy.asarray(reply.numbers), array.reshape(-1))


def test_an_array_is_not_writeable_while_a_call_sends_it(stub: Any, echo: Any, servicer: Any) -> None:
    array = mrpc.empty((64, 1024), "float32")
    array[:] = 1
    before = array.reshape(-1)
    servicer.release.clear()
    calls = [stub.Echo.future(echo.EchoRequest(command="wait", numbers=array.reshape(-1)), timeout=60) for _ in range(2)]
    assert servicer.entered.wait(30)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 2
    assert not array.reshape(-1).flags.writeable and before.flags.writeable  # as documented: views of before are not watched
    servicer.release.set()
    calls[0].result(30)
    assert not array.flags.writeable  # the other call's end has not been asked for
    calls[1].result(30)
    array[0, 0] = 2
    assert stub.Echo(echo.EchoRequest(numbers=array.reshape(-1)), timeout=60).numbers[0] == 2
    assert array.flags.writeable


def test_an_array_made_read_only_by_the_program_stays_so(stub: Any, echo: Any) -> None:
    array = mrpc.empty(1 << 16, "uint8")
    array.flags.writeable = False
    stub.Echo(echo.EchoRequest(payload=array), timeout=60)
    assert not array.flags.writeable


def test_a_call_that_fails_gives_its_array_back(stub: Any, echo: Any) -> None:
    array = mrpc.empty(1 << 16, "uint8")
    with pytest.raises(mrpc.RpcError):
        stub.Echo(echo.EchoRequest(command="raise", payload=array), timeout=60)
    assert array.flags.writeable
    stub.Echo.future(echo.EchoRequest(payload=array), timeout=60)  # dropped before its end
    assert array.flags.writeable


def test_empty_as_bytes(stub: Any, echo: Any) -> None:
    array = mrpc.empty(MIB, "uint8")
    array[:] = 5
    assert bytes(stub.Echo(echo.EchoRequest(payload=array), timeout=60).payload) == b"\x05" * MIB


def test_empty_in_a_handler_is_made_for_the_reply(stub: Any, echo: Any) -> None:
    reply = stub.Echo(echo.EchoRequest(command="empty"), timeout=60)
    assert len(reply.numbers) == 1 << 16 and set(numpy.asarray(reply.numbers)) == {7.0}


def test_empty_of_nothing_and_of_objects(server: Any) -> None:
    assert mrpc.empty(0).size == 0 and mrpc.empty((3, 0), "int8").shape == (3, 0)
    with pytest.raises(ValueError, match="Python objects"):
        mrpc.empty(3, object)


def test_received_views_can_be_kept_and_sent_on(stub: Any, echo: Any) -> None:
    replies = [stub.Echo(echo.EchoRequest(payload=bytes([number]) * MIB), timeout=60) for number in range(8)]
    assert [bytes(reply.payload[:2]) for reply in replies] == [bytes([number]) * 2 for number in range(8)]
    again = stub.Echo(echo.EchoRequest(payload=replies[3].payload), timeout=60)
    assert bytes(again.payload) == b"\x03" * MIB
