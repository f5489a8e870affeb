"""Generated code of the applications: made when it is first needed, never committed.

Each application has it in generated/SYSTEM, where SYSTEM is mrpc or grpc. Both get modules of the same names, X_pb2 and
X_pb2_grpc for X.proto.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

PROTO = Path(__file__).parents[1] / "proto"
SYSTEMS = ("mrpc", "grpc")


def ensure(app: Path, system: str, schemas: Iterable[Path]) -> None:
    """Makes the code of the schemas for the application in folder app, if it is missing or older than a schema. RuntimeError
    says what protoc disliked."""
    late = [schema for schema in schemas if _is_late(app / "generated" / system / f"{schema.stem}_pb2_grpc.py", schema)]
    if late:
        make(app, system, late)


def make(app: Path, system: str, schemas: Iterable[Path]) -> None:
    """Makes the code aside and moves it into place, so that a process started meanwhile never sees half of it."""
    target = app / "generated" / system
    target.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        for schema in schemas:
            done = subprocess.run(_command(app, system, schema, aside), capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"cannot generate the {system} code: {done.stderr or done.stdout}")
        for file in sorted(aside.rglob("*.py*")):
            os.replace(file, target / file.name)
    finally:
        shutil.rmtree(aside)


def _is_late(made: Path, schema: Path) -> bool:
    return not made.exists() or made.stat().st_mtime < schema.stat().st_mtime


def _command(app: Path, system: str, schema: Path, aside: Path) -> list[str]:
    if system == "mrpc":
        return [sys.executable, "-m", "mrpc.protoc", "-I", str(schema.parent), "--out", str(aside), "--opt", "grpc_names",
                "--opt", "imports=relative", schema.name]
    # Seen under this path, the schema makes X_pb2_grpc import its sibling by its full name: gRPC's compiler knows no
    # relative imports.
    package = f"apps/{app.name}/generated/{system}"
    return [sys.executable, "-m", "grpc_tools.protoc", f"-I{package}={schema.parent}",
            f"--python_out={aside}", f"--grpc_python_out={aside}", f"{package}/{schema.name}"]
