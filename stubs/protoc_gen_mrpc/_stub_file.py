"""The .pyi files."""

from __future__ import annotations

import keyword

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, ServiceDescriptorProto

from protoc_gen_mrpc._code import Code, Imports
from protoc_gen_mrpc._module import call_kind, header, public_imports, service_constant
from protoc_gen_mrpc._source import ENUM, FIELD, METHOD, NESTED_MESSAGE, SERVICE, Index, Path, Source

_F = FieldDescriptorProto
_SCALARS = {
    _F.TYPE_DOUBLE: "float",
    _F.TYPE_FLOAT: "float",
    _F.TYPE_BOOL: "bool",
    _F.TYPE_STRING: "str",
    _F.TYPE_BYTES: "bytes | _native.BytesView",
}
_IMPORTS = (
    "import collections.abc as _abc",
    "import typing as _typing",
    "from mrpc import _messages, _native, _service_info, _stub_types",
)


class StubFileWriter:
    """Writes the .pyi files of one file."""

    def __init__(self, index: Index, source: Source, version: str) -> None:
        self.index = index
        self.source = source
        self.version = version

    def messages(self, *, with_services: bool) -> str:
        self.imports = Imports(self.index, self.source, self.source.messages_module)
        body = Code()
        body.line("_FILE: _messages.File")
        body.line("DESCRIPTOR: _typing.Any")
        for i, enum in enumerate(self.source.proto.enum_type):
            self._enum(body, enum, (ENUM, i))
        for i, message in enumerate(self.source.proto.message_type):
            body.blank(1)
            self._message(body, message, (4, i), message.name)
        if with_services:
            self._services(body)
        return self._whole(body, public=True)

    def services(self) -> str:
        self.imports = Imports(self.index, self.source, self.source.services_module)
        body = Code()
        self._services(body)
        return self._whole(body, public=False)

    def _whole(self, body: Code, *, public: bool) -> str:
        code = Code()
        header(code, self.source, self.version)
        for line in _IMPORTS:
            code.line(line)
        self.imports.write(code, typing_only=True)
        if public:
            public_imports(code, self.index, self.source)
        return code.text() + "\n" + body.text()

    # ---- messages --------------------------------------------------------------------------------------------

    def _enum(self, code: Code, enum: EnumDescriptorProto, path: Path) -> None:
        code.line(f"{enum.name}: _messages.EnumType")
        code.docstring(self.source.comment(path))
        for value in enum.value:
            code.line(f"{value.name}: _typing.Final = {value.number}")

    def _message(self, code: Code, message: DescriptorProto, path: Path, name: str) -> None:
        with code.block(f"class {message.name}(_messages.Message):"):
            code.docstring(self.source.comment(path))
            for i, enum in enumerate(message.enum_type):
                self._enum(code, enum, (*path, 4, i))
            for i, nested in enumerate(message.nested_type):
                if not nested.options.map_entry:
                    self._message(code, nested, (*path, NESTED_MESSAGE, i), f"{name}.{nested.name}")
            for i, field in enumerate(message.field):
                self._field(code, field, self.source.comment((*path, FIELD, i)))
            self._constructor(code, message)
            self._oneofs(code, message)

    def _field(self, code: Code, field: FieldDescriptorProto, comment: str) -> None:
        code.line(f"{field.name.upper()}_FIELD_NUMBER: _typing.Final = {field.number}")
        if keyword.iskeyword(field.name):
            return
        if not self._is_container(field) and field.type != _F.TYPE_MESSAGE:
            code.line(f"{field.name}: {self._scalar(field)}")
            return code.docstring(comment)
        code.line("@property")
        head = f"def {field.name}(self) -> {self._container(field)}:"
        if not comment:
            return code.line(f"{head} ...")
        with code.block(head):
            code.docstring(comment)

    def _constructor(self, code: Code, message: DescriptorProto) -> None:
        fields = [field for field in message.field if not keyword.iskeyword(field.name)]
        if not fields:
            return code.line("def __init__(self) -> None: ...")
        with code.block("def __init__("):
            code.line("_self," if any(field.name == "self" for field in fields) else "self,")
            code.line("*,")
            for field in fields:
                code.line(f"{field.name}: {self._argument(field)} | None = ...,")
            if len(fields) != len(message.field):
                code.line("**keywords: _typing.Any,")
        code.line(") -> None: ...")

    def _oneofs(self, code: Code, message: DescriptorProto) -> None:
        names: dict[int, list[str]] = {}
        for field in message.field:
            if field.HasField("oneof_index") and not field.proto3_optional:
                names.setdefault(field.oneof_index, []).append(field.name)
        for i, fields in sorted(names.items()):
            if len(names) > 1:
                code.line("@_typing.overload")
            choices = ", ".join(repr(name) for name in fields)
            oneof = message.oneof_decl[i].name
            ignore = "" if len(names) > 1 and i != min(names) else "  # type: ignore[override]"  # only these names exist
            code.line(f"def WhichOneof(self, oneof_group: _typing.Literal[{oneof!r}]) -> _typing.Literal[{choices}] | None: ...{ignore}")

    # ---- types -------------------------------------------------------------------------------------------------

    def _entry(self, field: FieldDescriptorProto) -> DescriptorProto | None:
        return self.index.types[field.type_name].map_entry if field.type == _F.TYPE_MESSAGE else None

    def _is_container(self, field: FieldDescriptorProto) -> bool:
        return field.label == _F.LABEL_REPEATED

    def _scalar(self, field: FieldDescriptorProto) -> str:
        if field.type == _F.TYPE_MESSAGE:
            return self.imports.type_name(field.type_name)
        return _SCALARS.get(field.type, "int")

    def _container(self, field: FieldDescriptorProto) -> str:
        entry = self._entry(field)
        if entry is not None:
            return f"_native.Map[{self._scalar(entry.field[0])}, {self._scalar(entry.field[1])}]"
        if not self._is_container(field):
            return self._scalar(field)
        kinds = {_F.TYPE_MESSAGE: "RepeatedMessage", _F.TYPE_STRING: "Repeated", _F.TYPE_BYTES: "Repeated"}
        return f"_native.{kinds.get(field.type, 'RepeatedScalar')}[{self._scalar(field)}]"

    def _input(self, field: FieldDescriptorProto) -> str:
        extra = {
            _F.TYPE_ENUM: " | str",
            _F.TYPE_BYTES: " | bytearray | memoryview | _native.Buffer",
            _F.TYPE_MESSAGE: " | _abc.Mapping[str, _typing.Any]",
        }
        return self._scalar(field) + extra.get(field.type, "")

    def _argument(self, field: FieldDescriptorProto) -> str:
        entry = self._entry(field)
        if entry is not None:
            return f"_abc.Mapping[{self._scalar(entry.field[0])}, {self._input(entry.field[1])}]"
        if self._is_container(field):
            return f"_abc.Iterable[{self._input(field)}]"
        return self._input(field)

    # ---- services ------------------------------------------------------------------------------------------------

    def _services(self, code: Code) -> None:
        for i, service in enumerate(self.source.proto.service):
            code.blank(1)
            code.line(f"{service_constant(service)}: _service_info.ServiceInfo")
            self._stub(code, service, i, "Stub", "")
            self._stub(code, service, i, "AsyncStub", "Async")
            self._servicer(code, service, i)
            code.blank(1)
            code.line(f"def add_{service.name}Servicer_to_server(servicer: _typing.Any, server: _typing.Any) -> None: ...")

    def _stub(self, code: Code, service: ServiceDescriptorProto, number: int, suffix: str, prefix: str) -> None:
        code.blank(1)
        with code.block(f"class {service.name}{suffix}:"):
            code.docstring(self.source.comment((SERVICE, number)))
            code.line("def __init__(self, channel: _typing.Any) -> None: ...")
            for i, method in enumerate(service.method):
                kind = "".join(part.title() for part in call_kind(method).split("_"))
                types = f"{self.imports.type_name(method.input_type)}, {self.imports.type_name(method.output_type)}"
                code.line(f"{method.name}: _stub_types.{prefix}{kind}[{types}]")
                code.docstring(self.source.comment((SERVICE, number, METHOD, i)))

    def _servicer(self, code: Code, service: ServiceDescriptorProto, number: int) -> None:
        code.blank(1)
        with code.block(f"class {service.name}Servicer:"):
            code.docstring(self.source.comment((SERVICE, number)))
            for i, method in enumerate(service.method):
                request, reply = self.imports.type_name(method.input_type), self.imports.type_name(method.output_type)
                name = "request_iterator" if method.client_streaming else "request"
                argument = f"_stub_types.RequestIterator[{request}]" if method.client_streaming else request
                result = f"_stub_types.ReplyIterator[{reply}]" if method.server_streaming else f"_stub_types.HandlerReply[{reply}]"
                head = f"def {method.name}(self, {name}: {argument}, context: _typing.Any) -> {result}:"
                comment = self.source.comment((SERVICE, number, METHOD, i))
                if not comment:
                    code.line(f"{head} ...")
                    continue
                with code.block(head):
                    code.docstring(comment)
            if not service.method:
                code.line("...")
