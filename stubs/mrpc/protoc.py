"""python -m mrpc.protoc -I DIR --out DIR [--opt KEY=VALUE] FILE...: .proto files to Python modules, with no protoc installed.

Parsing is grpcio-tools' protoc; the generator is protoc_gen_mrpc, whose options --opt takes. An existing __init__.py stays as it is.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import protoc_gen_mrpc
from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


class ProtocError(Exception):
    """What protoc or the generator said against the input."""


def compile_files(files: Sequence[str], include: Sequence[str], options: Sequence[str] = ()) -> dict[str, str]:
    """Path in the output folder to content, for `files`. Raises ProtocError; protoc's own messages go to stderr."""
    request = plugin_pb2.CodeGeneratorRequest(parameter=",".join(options))
    request.proto_file.extend(_parse(files, include, ["--include_imports", "--include_source_info"]))
    request.file_to_generate.extend(proto.name for proto in _parse(files, include, []))
    response = protoc_gen_mrpc.generate(request, protoc_gen_mrpc.__version__)
    if response.error:
        raise ProtocError(response.error)
    return {file.name: file.content for file in response.file}


def _parse(files: Sequence[str], include: Sequence[str], flags: Sequence[str]) -> Sequence[FileDescriptorProto]:
    if importlib.util.find_spec("grpc_tools") is None:
        raise ProtocError("grpcio-tools is not installed; run 'pip install grpcio-tools', or use protoc with protoc-gen-mrpc")
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        paths = [f"-I{path}" for path in (*include, well_known)]
        if protoc.main(["protoc", *paths, *flags, f"--descriptor_set_out={out}", *files]) != 0:
            raise ProtocError("protoc refused the input")
        return FileDescriptorSet.FromString(out.read_bytes()).file


def write(files: dict[str, str], out: Path) -> list[Path]:
    """Writes `files` under `out`; returns the paths written."""
    written = []
    for name, content in files.items():
        path = out / name
        if path.name == "__init__.py" and path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mrpc.protoc", description="Makes Python modules of .proto files.")
    parser.add_argument("-I", "--proto_path", action="append", metavar="DIR", help="where imports are looked up (default: .)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the modules go")
    parser.add_argument("--opt", action="append", default=[], metavar="KEY[=VALUE]", help="an option of protoc-gen-mrpc, e.g. grpc_names")
    parser.add_argument("files", nargs="+", metavar="FILE")
    given = parser.parse_args(arguments)
    try:
        write(compile_files(given.files, given.proto_path or ["."], given.opt), given.out)
    except (ProtocError, OSError) as error:
        print(f"mrpc.protoc: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
