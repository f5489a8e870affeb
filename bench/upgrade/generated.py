"""Generates the stubs of sequence.proto."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

PROTO = Path(__file__).with_name("sequence.proto")


def generate(out: Path) -> None:
    """RuntimeError with what the compiler said."""
    command = [sys.executable, "-m", "mrpc.protoc", "-I", str(PROTO.parent), "--out", str(out), PROTO.name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr or done.stdout)


def load(out: str) -> Any:
    sys.path.insert(0, out)
    return importlib.import_module("sequence_mrpc")
