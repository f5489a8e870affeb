"""From protoc's request to the files of its response."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from google.protobuf.compiler import plugin_pb2

from protoc_gen_mrpc._module import ModuleWriter
from protoc_gen_mrpc._options import OptionError, Options, parse_options
from protoc_gen_mrpc._source import Index, Source
from protoc_gen_mrpc._stub_file import StubFileWriter


def generate(request: plugin_pb2.CodeGeneratorRequest, version: str) -> plugin_pb2.CodeGeneratorResponse:
    """The modules for every file to generate; a bad option is answered as an error."""
    response = plugin_pb2.CodeGeneratorResponse()
    response.supported_features = plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    try:
        options = parse_options(request.parameter)
    except OptionError as error:
        response.error = f"protoc-gen-mrpc: {error}"
        return response
    index = Index(list(request.proto_file), options)
    sources = [index.sources[name] for name in request.file_to_generate]
    for source in sources:
        for name, content in _modules(index, source, options, version):
            response.file.add(name=name, content=content)
    if options.init_files:
        for folder in _folders(sources):
            response.file.add(name=f"{folder}/__init__.py", content="")
    return response


def _modules(index: Index, source: Source, options: Options, version: str) -> Iterable[tuple[str, str]]:
    module, stub = ModuleWriter(index, source, version), StubFileWriter(index, source, version)
    together = not options.grpc_names
    yield f"{source.messages_module}.py", module.messages(with_services=together)
    if options.pyi:
        yield f"{source.messages_module}.pyi", stub.messages(with_services=together)
    if together:
        return
    yield f"{source.services_module}.py", module.services()
    if options.pyi:
        yield f"{source.services_module}.pyi", stub.services()


def _folders(sources: list[Source]) -> list[str]:
    """Every folder that has modules, and those around it; not the output folder itself."""
    found = set()
    for source in sources:
        folder = source.folder
        while folder:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return sorted(found)
