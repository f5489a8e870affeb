"""What the generator knows of .proto files: their comments, and which module has which type."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

from protoc_gen_mrpc._options import Options

MESSAGE, ENUM, SERVICE = 4, 5, 6  # field numbers in FileDescriptorProto
NESTED_MESSAGE, NESTED_ENUM, FIELD, METHOD = 3, 4, 2, 2  # in DescriptorProto and ServiceDescriptorProto

Path = tuple[int, ...]


def is_well_known(file_name: str) -> bool:
    """Whether mrpc.wkt has the classes of this file."""
    return re.fullmatch(r"google/protobuf/\w+\.proto", file_name) is not None


@dataclass(frozen=True)
class TypeRef:
    """Where a message or enum stands: `name` is its dotted name inside its module."""

    file_name: str
    name: str
    map_entry: DescriptorProto | None = None


class Source:
    """One file, its comments, and the names of the modules made of it."""

    def __init__(self, proto: FileDescriptorProto, options: Options) -> None:
        self.proto = proto
        self.options = options
        self.messages_suffix = "_pb2" if options.grpc_names else "_mrpc"
        self._comments = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in proto.source_code_info.location
        }

    @property
    def package_prefix(self) -> str:
        return f"{self.proto.package}." if self.proto.package else ""

    @property
    def folder(self) -> str:
        return posixpath.dirname(self.proto.name)

    @property
    def messages_module(self) -> str:
        """Path of the module that has the messages, without .py."""
        return self._stem + self.messages_suffix

    @property
    def services_module(self) -> str:
        """Path of the module that has the services, without .py."""
        return self._stem + ("_pb2_grpc" if self.options.grpc_names else "_mrpc")

    @property
    def _stem(self) -> str:
        return re.sub(r"[^\w/]", "_", self.proto.name.removesuffix(".proto"))

    def comment(self, path: Path) -> str:
        """The comment on what stands at `path`, without its margin; empty when there is none."""
        lines = self._comments.get(path, "").rstrip().split("\n")
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        return "\n".join(line[margin:].rstrip() for line in lines).strip("\n")

    def messages(self) -> Iterator[tuple[DescriptorProto, Path, str]]:
        """(message, path, dotted name) of every message, owners first; map entries are left out."""
        for i, message in enumerate(self.proto.message_type):
            yield from _nested(message, (MESSAGE, i), message.name)

    def enums_of(self, message: DescriptorProto, path: Path) -> Iterator[tuple[EnumDescriptorProto, Path]]:
        for i, enum in enumerate(message.enum_type):
            yield enum, (*path, NESTED_ENUM, i)

    def docs(self) -> dict[str, str]:
        """Full name to comment, of the messages and enums that have one."""
        found = {}
        for i, enum in enumerate(self.proto.enum_type):
            found[enum.name] = self.comment((ENUM, i))
        for message, path, name in self.messages():
            found[name] = self.comment(path)
            for enum, enum_path in self.enums_of(message, path):
                found[f"{name}.{enum.name}"] = self.comment(enum_path)
        return {self.package_prefix + name: text for name, text in sorted(found.items()) if text}


def _nested(message: DescriptorProto, path: Path, name: str) -> Iterator[tuple[DescriptorProto, Path, str]]:
    yield message, path, name
    for i, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _nested(nested, (*path, NESTED_MESSAGE, i), f"{name}.{nested.name}")


class Index:
    """Every file of a request, and every type by its full name with a leading dot."""

    def __init__(self, files: list[FileDescriptorProto], options: Options) -> None:
        self.sources = {proto.name: Source(proto, options) for proto in files}
        self.types: dict[str, TypeRef] = {}
        for proto in files:
            prefix = f".{proto.package}." if proto.package else "."
            self._add_enums(proto.name, prefix, "", proto.enum_type)
            for message in proto.message_type:
                self._add_message(proto.name, prefix, message.name, message)

    def _add_message(self, file_name: str, prefix: str, name: str, message: DescriptorProto) -> None:
        entry = message if message.options.map_entry else None
        self.types[prefix + name] = TypeRef(file_name, name, entry)
        self._add_enums(file_name, prefix, f"{name}.", message.enum_type)
        for nested in message.nested_type:
            self._add_message(file_name, prefix, f"{name}.{nested.name}", nested)

    def _add_enums(self, file_name: str, prefix: str, owner: str, enums: list[EnumDescriptorProto]) -> None:
        for enum in enums:
            self.types[f"{prefix}{owner}{enum.name}"] = TypeRef(file_name, owner + enum.name)
