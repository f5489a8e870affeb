"""protoc-gen-mrpc: the protoc plugin that writes mrpc's message classes, stubs and servicers.

protoc speaks to it over stdin and stdout: a google.protobuf.compiler.CodeGeneratorRequest in, a CodeGeneratorResponse out. The same
request and options give the same bytes. Options (--mrpc_opt=KEY or KEY=VALUE, comma-separated):

grpc_names          write x_pb2.py and x_pb2_grpc.py, with gRPC's division of content, instead of x_mrpc.py
imports=relative    how generated modules import each other; `absolute` (the default with grpc_names) counts from the output folder
init_files=true     whether to write an __init__.py into each folder
pyi=true            whether to write .pyi files
"""

from __future__ import annotations

import sys

from google.protobuf.compiler import plugin_pb2

from protoc_gen_mrpc._generator import generate

__version__ = "0.1.0"
__all__ = ["generate", "main"]


def main() -> int:
    """Answers the request on stdin."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(request, __version__).SerializeToString(deterministic=True))
    return 0
