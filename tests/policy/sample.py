"""A schema with a field of each kind, made without protoc; its classes of google.protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SCALARS = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "fixed64": 6, "fixed32": 7, "bool": 8, "string": 9, "bytes": 12,
    "uint32": 13, "sfixed32": 15, "sfixed64": 16, "sint32": 17, "sint64": 18,
}
MESSAGES = """
User: string name=1, string tier=2, int32 age=3, Address address=4, repeated string roles=5
Address: string city=1, uint32 zip=2
Item: string sku=1, int64 count=2, double price=3, User owner=4
Request: User user=1, int64 number=2, uint64 big=3, double ratio=4, float small=5, bool flag=6, string text=7, bytes blob=8, int32 i32=9,
  fixed64 f64=10, sfixed32 sf32=11, sint64 s64=12, repeated Item items=13, repeated int64 numbers=14, repeated string words=15,
  optional int32 maybe=16, Color color=17, repeated bool flags=18, repeated double ratios=19, optional string note=20, Request next=21,
  uint32 u32=22
Reply: string text=1, int64 number=2, User user=3
"""


def _field(message: Any, text: str) -> None:
    words, _, number = text.strip().partition("=")
    *labels, kind, name = words.split()
    field = message.field.add(name=name, number=int(number), label=3 if "repeated" in labels else 1)
    if kind in SCALARS:
        field.type = SCALARS[kind]
    elif kind == "Color":
        field.type, field.type_name = 14, ".sample.Color"
    else:
        field.type, field.type_name = 11, f".sample.{kind}"
    if "optional" in labels:
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="sample.proto", package="sample", syntax="proto3")
    for line in MESSAGES.strip().replace(",\n  ", ", ").splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for each in fields.split(","):
            _field(message, each)
    request = next(each for each in file.message_type if each.name == "Request")
    entry = request.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=9, label=1)
    request.field.add(name="labels", number=30, type=11, label=3, type_name=".sample.Request.LabelsEntry")
    request.oneof_decl.insert(0, descriptor_pb2.OneofDescriptorProto(name="choice"))
    for each in request.field:
        if each.proto3_optional:
            each.oneof_index += 1
    request.field.add(name="left", number=31, type=3, label=1, oneof_index=0)
    request.field.add(name="right", number=32, type=11, label=1, type_name=".sample.User", oneof_index=0)
    color = file.enum_type.add(name="Color")
    for number, name in enumerate(["RED", "GREEN", "BLUE"]):
        color.value.add(name=name, number=number)
    service = file.service.add(name="Shop")
    service.method.add(name="Buy", input_type=".sample.Request", output_type=".sample.Reply")
    return file


FILE = _file()
SCHEMA = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()
_pool = descriptor_pool.DescriptorPool()
_pool.Add(FILE)
Request = message_factory.GetMessageClass(_pool.FindMessageTypeByName("sample.Request"))
Reply = message_factory.GetMessageClass(_pool.FindMessageTypeByName("sample.Reply"))
