"""Generated code of policy.proto, made once a run; clients and servers load it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

PROTO = Path(__file__).with_name("policy.proto")
PACKAGE = "policybench"


def generate(out: Path) -> bytes:
    """Makes mRPC's code in `out`, and returns the schema as a serialised FileDescriptorSet. Raises RuntimeError."""
    _run("mrpc.protoc", "-I", str(PROTO.parent), "--out", str(out), PROTO.name)
    schema = out / "policy.pb"
    _run("grpc_tools.protoc", f"-I{PROTO.parent}", "--include_imports", f"--descriptor_set_out={schema}", PROTO.name)
    return schema.read_bytes()


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr or done.stdout}")


def load(generated: str) -> Any:
    """The generated module."""
    sys.path.insert(0, generated)
    return importlib.import_module("policy_mrpc")
