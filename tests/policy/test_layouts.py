"""What the policy compiler is told of messages and schemas: `message_layout` and `Dataplane.schemas`."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from mrpc_service._dataplane import Dataplane, message_layout

from tests.service import greeter

OPTIONAL, REPEATED = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.LABEL_REPEATED


def schema() -> bytes:
    """Proto2, so that fields have presence and defaults; Order reaches Order.TagsEntry, Item, and Order again."""
    file = FileDescriptorProto(name="shop.proto", package="shop")
    file.enum_type.add(name="Tier").value.add(name="FREE", number=3)
    file.enum_type[0].value.add(name="PAID", number=-1)
    order = file.message_type.add(name="Order")
    order.oneof_decl.add(name="payment")

    def field(name: str, number: int, type: int, label: int = OPTIONAL, **rest: Any) -> None:
        order.field.add(name=name, number=number, type=type, label=label, **rest)  # type: ignore[arg-type]

    field("note", 9, FieldDescriptorProto.TYPE_STRING, default_value="none")
    field("raw", 2, FieldDescriptorProto.TYPE_BYTES, default_value="\\001x")
    field("count", 3, FieldDescriptorProto.TYPE_SINT32, default_value="-7")
    field("big", 4, FieldDescriptorProto.TYPE_UINT64, default_value="18446744073709551615")
    field("weight", 5, FieldDescriptorProto.TYPE_FLOAT, default_value="0.5")
    field("urgent", 6, FieldDescriptorProto.TYPE_BOOL, default_value="true")
    field("tier", 7, FieldDescriptorProto.TYPE_ENUM, type_name=".shop.Tier")
    field("items", 8, FieldDescriptorProto.TYPE_MESSAGE, REPEATED, type_name=".shop.Item")
    field("card", 10, FieldDescriptorProto.TYPE_INT64, oneof_index=0)
    field("tags", 11, FieldDescriptorProto.TYPE_MESSAGE, REPEATED, type_name=".shop.Order.TagsEntry")
    entry = order.nested_type.add(name="TagsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=FieldDescriptorProto.TYPE_STRING, label=OPTIONAL)
    entry.field.add(name="value", number=2, type=FieldDescriptorProto.TYPE_INT32, label=OPTIONAL)
    item = file.message_type.add(name="Item")
    item.field.add(name="parent", number=1, type=FieldDescriptorProto.TYPE_MESSAGE, label=OPTIONAL, type_name=".shop.Order")
    file.message_type.add(name="Unrelated")
    return FileDescriptorSet(file=[file]).SerializeToString()


@pytest.fixture(scope="module")
def order() -> dict[str, Any]:
    fields: dict[str, Any] = message_layout(schema(), "shop.Order")["messages"]["shop.Order"]["fields"]
    return fields


def test_it_holds_what_the_root_reaches_and_no_more() -> None:
    layout = message_layout(schema(), "shop.Order")
    assert layout["root"] == "shop.Order"
    assert set(layout["messages"]) == {"shop.Order", "shop.Order.TagsEntry", "shop.Item"}
    assert set(message_layout(schema(), "shop.Unrelated")["messages"]) == {"shop.Unrelated"}


def test_offsets_follow_the_layout_rules(order: dict[str, Any]) -> None:
    # Unknown fields' Ref and one word of presence; then 8 bytes wide by number, then 4, then 1.
    assert [(order[name]["offset"], order[name]["element_bytes"]) for name in ("raw", "big", "items", "note", "card", "tags")] == [
        (16, 8), (24, 8), (32, 24), (40, 8), (48, 8), (56, 32),
    ]  # fmt: skip
    assert [order[name]["offset"] for name in ("count", "weight", "tier", "urgent")] == [64, 68, 72, 76]
    assert message_layout(schema(), "shop.Order")["messages"]["shop.Order"]["struct_bytes"] == 80


def test_presence_bits_count_by_number(order: dict[str, Any]) -> None:
    by_number = sorted(order, key=lambda name: order[name]["number"])
    assert [order[name]["index"] for name in by_number] == list(range(len(by_number)))
    assert order["card"]["oneof"] == 0 and order["note"]["oneof"] == -1
    assert order["note"]["has_presence"] and not order["items"]["has_presence"]


def test_types_are_told_apart(order: dict[str, Any]) -> None:
    assert order["count"]["type"] == FieldDescriptorProto.TYPE_SINT32
    assert [order[name]["cardinality"] for name in ("count", "items", "tags")] == ["singular", "repeated", "map"]
    assert (order["items"]["message"], order["tags"]["message"], order["count"]["message"]) == ("shop.Item", "shop.Order.TagsEntry", "")
    assert order["tier"]["enum"] == {"FREE": 3, "PAID": -1} and order["count"]["enum"] is None


def test_defaults_are_values(order: dict[str, Any]) -> None:
    expected = {"note": b"none", "raw": b"\x01x", "count": -7, "big": 2**64 - 1, "weight": 0.5, "urgent": 1, "tier": 3, "card": 0}
    assert {name: order[name]["default"] for name in expected} == expected
    assert isinstance(order["weight"]["default"], float)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(KeyError, match=r"shop\.Nothing"):
        message_layout(schema(), "shop.Nothing")
    with pytest.raises(ValueError, match="malformed"):
        message_layout(b"\xff", "shop.Order")


def test_schemas_lists_what_is_on_offer(tmp_path: Path) -> None:
    plane = Dataplane(
        socket_path=str(tmp_path / "app.sock"), node="here", shards=1, message_bytes_max=1 << 20, send_quota_bytes=1 << 24,
        receive_quota_bytes=1 << 24,
    )  # fmt: skip
    plane.start()
    assert plane.schemas() == []
    program = [sys.executable, greeter.__file__]
    environment = {**os.environ, "MRPC_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None and server.stdout.readline() == "serving\n"
        wait_event(plane, "offered")
        (offered,) = plane.schemas()
        assert offered["service"] == greeter.SERVICE and offered["methods"] == ["Greet", "Watch"]
        assert offered["schema"] == plane.schema(greeter.SERVICE) and offered["fingerprint"] > 0
        request = message_layout(offered["schema"], "test.GreetRequest")["messages"]["test.GreetRequest"]
        assert request["fields"]["name"]["cardinality"] == "singular"
        server.kill()
    plane.stop(0)


def wait_event(plane: Dataplane, kind: str) -> dict[str, Any]:
    while True:
        for event in plane.drain_events():
            if event["kind"] == kind:
                return event
        assert select.select([plane.events_fd()], [], [], 30)[0], f"no event {kind!r}"
