"""Calling and serving methods whose schema comes at run time, with no generated code: for `mrpc call` and `mrpc check`.

JSON is read and written by google.protobuf with a pool of its own; the call goes by mrpc's own message classes, so that it
passes the mesh as every other call does.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import mrpc
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from mrpc import _native


class UnknownMethod(Exception):
    """The schema lacks the service or method; the text names what is near."""


@dataclass(frozen=True)
class DynamicMethod:
    """A method of a schema. `info` is what mrpc's channels take."""

    info: mrpc.MethodInfo
    request_type: Any  # google.protobuf classes, for JSON
    reply_type: Any
    pool: DescriptorPool

    def request_from_json(self, text: str) -> Any:
        """A request of mrpc's class. ValueError with what is wrong with the JSON."""
        try:
            parsed = json_format.Parse(text, self.request_type(), descriptor_pool=self.pool)
        except json_format.ParseError as error:
            raise ValueError(str(error)) from None
        return self.info.request_class.FromString(parsed.SerializeToString())

    def reply_to_dict(self, reply: Any) -> dict[str, Any]:
        """A reply of mrpc's class, as protobuf's JSON has it, with fields by their names in the schema."""
        parsed = self.reply_type.FromString(reply.SerializeToString())
        return json_format.MessageToDict(parsed, preserving_proto_field_name=True, descriptor_pool=self.pool)


@dataclass(frozen=True)
class DynamicService:
    """A service of a schema. `info` is what mrpc's servers take."""

    info: mrpc.ServiceInfo
    methods: dict[str, DynamicMethod]

    def method(self, name: str) -> DynamicMethod:
        """UnknownMethod."""
        if name not in self.methods:
            near = difflib.get_close_matches(name, self.methods, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.methods)}"
            raise UnknownMethod(f"service {self.info.full_name} has no method {name!r}; {hint}")
        return self.methods[name]


def load_service(file_set: bytes, service: str) -> DynamicService:
    """The service of this full name in a serialised FileDescriptorSet, dependencies first. UnknownMethod."""
    files = FileDescriptorSet.FromString(file_set).file
    pool = DescriptorPool()
    for file in files:
        pool.Add(file)
    try:
        descriptor = pool.FindServiceByName(service)
    except KeyError:
        raise UnknownMethod(f"the schema has no service {service!r}") from None
    schema = _native.Schema(file_set)
    names = [name for file in files for name in _message_names(file.package, file.message_type)]
    classes = {name: schema.message_class(name, __name__) for name in names}
    methods = {found.name: _load_method(found, schema, classes, pool) for found in descriptor.methods}
    return DynamicService(mrpc.ServiceInfo(service, schema, tuple(each.info for each in methods.values())), methods)


def _load_method(found: Any, schema: Any, classes: dict[str, type], pool: DescriptorPool) -> DynamicMethod:
    service = found.containing_service.full_name
    info = mrpc.MethodInfo(
        path=f"/{service}/{found.name}", request_class=classes[found.input_type.full_name],
        reply_class=classes[found.output_type.full_name], client_streaming=found.client_streaming,
        server_streaming=found.server_streaming, schema=schema, service=service,
    )
    return DynamicMethod(info, GetMessageClass(found.input_type), GetMessageClass(found.output_type), pool)


def _message_names(scope: str, messages: Any) -> list[str]:
    """Full names of messages and of those within them, map entries left out."""
    names = []
    for message in messages:
        if not message.options.map_entry:
            full_name = f"{scope}.{message.name}" if scope else message.name
            names += [full_name, *_message_names(full_name, message.nested_type)]
    return names
