"""The requests of a run: protobuf bytes for gRPC and mRPC, and the schema that names their types."""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from mrpc_service.load.native import WrongUsage


def compile_protos(files: Sequence[str], include: Sequence[str]) -> bytes:
    """A serialised FileDescriptorSet of .proto files and all that they import. Raises WrongUsage."""
    from grpc_tools import protoc

    roots = list(include) or sorted({str(Path(file).parent) for file in files})
    well_known = Path(protoc.__file__).parent / "_proto"
    with tempfile.NamedTemporaryFile(suffix=".pb") as out:
        arguments = ["protoc", *(f"-I{root}" for root in [*roots, well_known]), "--include_imports", f"--descriptor_set_out={out.name}", *files]
        if protoc.main(arguments) != 0:
            raise WrongUsage("protoc refused the .proto files; its reasons stand above")
        return Path(out.name).read_bytes()


def request_class(schema: bytes, method_path: str) -> type:
    """The request's message class of "/pkg.Service/Method". Raises WrongUsage."""
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in descriptor_pb2.FileDescriptorSet.FromString(schema).file:
            pool.Add(file)
    except (DecodeError, TypeError) as error:
        raise WrongUsage(f"the schema is no FileDescriptorSet with all that it imports: {error}") from error
    service, _, method = method_path.strip("/").rpartition("/")
    try:
        found = pool.FindServiceByName(service).methods_by_name[method]
    except KeyError as missing:
        raise WrongUsage(f"the schema has no method {method_path}") from missing
    return message_factory.GetMessageClass(found.input_type)


def encode_json(text: str, message_class: type) -> list[bytes]:
    """Protobuf bytes of a JSON object, or of each object of a JSON list. Raises WrongUsage."""
    try:
        parsed = json.loads(text)
        objects = parsed if isinstance(parsed, list) else [parsed]
        return [json_format.ParseDict(each, message_class()).SerializeToString() for each in objects]
    except (ValueError, json_format.ParseError) as error:
        raise WrongUsage(f"--data does not fit the request's type: {error}") from error


def read_text(argument: str) -> str:
    """The argument itself; or, of @FILE, the file; or, of @-, standard input. Raises WrongUsage."""
    if not argument.startswith("@"):
        return argument
    try:
        return sys.stdin.read() if argument == "@-" else Path(argument[1:]).read_text()
    except (OSError, ValueError) as error:
        raise WrongUsage(f"cannot read {argument[1:]}: {error}") from error


def from_hex(text: str) -> bytes:
    """Raises WrongUsage."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise WrongUsage(f"--data-hex is not hexadecimal: {error}") from error


def write_payloads(payloads: Sequence[bytes], path: Path) -> None:
    """The file that the native program reads: {u32 little-endian length, bytes} for each request."""
    path.write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in payloads))
