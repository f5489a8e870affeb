"""Well-known types have google.protobuf's helpers, and take google.protobuf's own messages."""

from __future__ import annotations

import datetime as dt
from typing import Any

from google.protobuf import timestamp_pb2
from mrpc import wkt

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


def test_times(ours: Any) -> None:
    message = ours(when=NOON, how_long=dt.timedelta(minutes=3))
    assert message.when.ToDatetime(tzinfo=dt.UTC) == NOON and message.how_long.ToTimedelta() == dt.timedelta(minutes=3)
    message.when = NOON + dt.timedelta(days=1)
    assert message.when.ToJsonString() == "2024-05-02T12:00:00Z"
    message.when.GetCurrentTime()
    assert message.when.seconds > 1_700_000_000
    assert isinstance(message.when, wkt.Timestamp)


def test_googles_own_messages_are_taken(ours: Any) -> None:
    stamp = timestamp_pb2.Timestamp(seconds=5, nanos=6)
    message = ours(when=stamp)
    message.self.when.CopyFrom(stamp)
    assert message.when == wkt.Timestamp(seconds=5, nanos=6) == message.self.when


def test_struct_and_value(ours: Any) -> None:
    message = ours(config={"a": 1, "b": [True, None, "x"], "c": {"d": 2.5}})
    assert message.config["c"]["d"] == 2.5 and list(message.config["b"]) == [True, None, "x"]
    message.config["e"] = "new"
    assert "e" in message.config.fields
    assert ours.FromString(message.SerializeToString()).config == message.config


def test_any(ours: Any) -> None:
    message = ours()
    message.anything.Pack(ours.Inner(id=3))
    assert message.anything.Is(ours.Inner.DESCRIPTOR)
    inner = ours.Inner()
    assert message.anything.Unpack(inner) and inner.id == 3
    assert ours.from_json(message.to_json()) == message


def test_wrappers(ours: Any) -> None:
    message = ours(wrapped={"value": "x"})
    assert message.wrapped == wkt.StringValue(value="x") and message.to_json(indent=None) == '{"wrapped": "x"}'
