"""The same names for both systems, so that clients and servers under test are the same code."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROTO = Path(__file__).with_name("echo.proto")
SERVICE = "bench.Echo"
MESSAGE_BYTES_MAX = 64 << 20
GRPC_OPTIONS = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.max_send_message_length", MESSAGE_BYTES_MAX)]


@dataclass(frozen=True)
class Binding:
    rpc: Any  # the module mrpc or grpc
    Payload: type
    Work: type
    EchoStub: type
    EchoServicer: type
    add_to_server: Any
    options: list[tuple[str, Any]]


def generate(out: Path) -> bytes:
    """Makes both systems' code in `out`; returns the schema as a serialised FileDescriptorSet. Raises RuntimeError.

    Without mRPC's plugin only gRPC's code is made."""
    schema = out / "echo.pb"
    _run("grpc_tools.protoc", f"-I{PROTO.parent}", f"--python_out={out}", f"--grpc_python_out={out}", "--include_imports",
         f"--descriptor_set_out={schema}", PROTO.name)
    if importlib.util.find_spec("mrpc") and importlib.util.find_spec("mrpc.protoc"):
        _run("mrpc.protoc", "-I", str(PROTO.parent), "--out", str(out), PROTO.name)
    return schema.read_bytes()


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr or done.stdout}")


def load(system: str, generated: str) -> Binding:
    """The generated code of "mrpc" or "grpc"."""
    sys.path.insert(0, generated)
    rpc = importlib.import_module(system)
    if system == "mrpc":
        made = importlib.import_module("echo_mrpc")
        return Binding(rpc, made.Payload, made.Work, made.EchoStub, made.EchoServicer, made.add_EchoServicer_to_server, [])
    messages, services = importlib.import_module("echo_pb2"), importlib.import_module("echo_pb2_grpc")
    return Binding(rpc, messages.Payload, messages.Work, services.EchoStub, services.EchoServicer, services.add_EchoServicer_to_server, GRPC_OPTIONS)
