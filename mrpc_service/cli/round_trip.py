"""The last line of `mrpc check`: this process offers a service, calls it through the daemon, and compares what comes back."""

from __future__ import annotations

import os
import time
from typing import Any

from google.protobuf import wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from mrpc_service.cli.findings import Finding, failed, passed
from mrpc_service.runtime_dir import RuntimeDir

TIMEOUT_S = 5.0
PAYLOAD = bytes(range(256)) * 16
TEST = "round trip"
MEND = "'mrpc logs' and 'mrpc policy show' tell more"


def echo_schema() -> tuple[bytes, str]:
    """A schema with one service that echoes bytes, named after this user: a service's name belongs to the user who offers it."""
    file = FileDescriptorProto(name="mrpc/check.proto", package="mrpc.check", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    service = file.service.add(name=f"Uid{os.geteuid()}")
    bytes_value = ".google.protobuf.BytesValue"
    service.method.add(name="Echo", input_type=bytes_value, output_type=bytes_value)
    wrappers = FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    return FileDescriptorSet(file=[wrappers, file]).SerializeToString(), f"mrpc.check.{service.name}"


def round_trip(runtime: RuntimeDir) -> Finding:
    try:
        import mrpc

        from mrpc_service.dynamic import load_service
    except ImportError as error:
        return failed(TEST, f"the stubs cannot be loaded: {error}", "install the mrpc package")
    os.environ["MRPC_RUNTIME_DIR"] = str(runtime.path)  # where the stubs find the daemon
    file_set, service = echo_schema()
    dynamic = load_service(file_set, service)
    try:
        with mrpc.server(name="mrpc check") as server:
            server.add_service(dynamic.info, Echo())
            server.start()
            return measure(mrpc, dynamic.method("Echo").info)
    except mrpc.RpcError as error:
        return failed(TEST, f"{error.code().name}: {error.details()}", MEND)


class Echo:
    def Echo(self, request: Any, context: Any) -> Any:
        return request


def measure(mrpc: Any, info: Any) -> Finding:
    with mrpc.channel(f"mrpc:///{info.service}", options=[("mrpc.label", "mrpc check")]) as channel:
        echo = channel.unary_unary(info)
        echo(info.request_class(value=b""), timeout=TIMEOUT_S)  # makes the edge
        started = time.perf_counter()
        reply = echo(info.request_class(value=PAYLOAD), timeout=TIMEOUT_S)
        took_us = (time.perf_counter() - started) * 1e6
    if bytes(reply.value) != PAYLOAD:
        return failed(TEST, "the reply differs from what was sent", "this is a defect: please report it")
    return passed(TEST, f"4 KiB to this process and back over the daemon in {took_us:.0f} us")
