"""Makes storage_pb2 from proto/vectordb/storage.proto; nothing generated is committed.

ensure() is called before the import: the module is made when it is missing or older than its schema.
"""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCHEMA = Path(__file__).parents[3] / "proto" / "vectordb" / "storage.proto"
GENERATED = Path(__file__).parent / "generated"


def ensure() -> None:
    """Makes the module if need be, aside and moved into place. RuntimeError says what protoc disliked."""
    made = GENERATED / "storage_pb2.py"
    if made.exists() and made.stat().st_mtime >= SCHEMA.stat().st_mtime:
        return
    GENERATED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=GENERATED) as aside:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SCHEMA.parent}", f"--python_out={aside}", SCHEMA.name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"cannot generate storage_pb2: {done.stderr or done.stdout}")
        os.replace(Path(aside) / made.name, made)
