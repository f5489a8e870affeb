"""Makes the generated code: `python -m apps.hotel.generate [mrpc|grpc]`.

Nothing generated is committed. rpc.py calls ensure() before it imports, so that the code is made when it is missing or
older than its schema. Both systems get modules of the same names, hotel_pb2 and hotel_pb2_grpc, health_pb2 and
health_pb2_grpc.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).parents[2] / "proto"
SCHEMA = PROTO / "hotel" / "hotel.proto"
HEALTH = PROTO / "grpc" / "health" / "v1" / "health.proto"
GENERATED = Path(__file__).parent / "generated"
SYSTEMS = ("mrpc", "grpc")


def ensure(system: str) -> None:
    """Makes the system's code if it is missing or older than the schema. RuntimeError says what protoc disliked."""
    for schema in (SCHEMA, HEALTH):
        made = GENERATED / system / f"{schema.stem}_pb2_grpc.py"
        if not made.exists() or made.stat().st_mtime < schema.stat().st_mtime:
            make(system)


def make(system: str) -> None:
    """Makes the code aside and moves it into place, so that a process started meanwhile never sees half of it."""
    GENERATED.mkdir(exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=GENERATED))
    try:
        for schema in (SCHEMA, HEALTH):
            done = subprocess.run(_command(system, schema, aside), capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"cannot generate the {system} code: {done.stderr or done.stdout}")
        target = GENERATED / system
        target.mkdir(exist_ok=True)
        for file in sorted(aside.rglob("*.py*")):
            os.replace(file, target / file.name)
    finally:
        shutil.rmtree(aside)


def descriptors(out: Path) -> bytes:
    """The schema as a serialized FileDescriptorSet, written to out on the way."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{SCHEMA.parent}", "--include_imports",
                    f"--descriptor_set_out={out}", SCHEMA.name], check=True)
    return out.read_bytes()


def _command(system: str, schema: Path, out: Path) -> list[str]:
    if system == "mrpc":
        return [sys.executable, "-m", "mrpc.protoc", "-I", str(schema.parent), "--out", str(out), "--opt", "grpc_names",
                "--opt", "imports=relative", schema.name]
    # Seen under this path, the schema makes hotel_pb2_grpc import its sibling by its full name: gRPC's compiler knows
    # no relative imports.
    package = f"apps/hotel/generated/{system}"
    return [sys.executable, "-m", "grpc_tools.protoc", f"-I{package}={schema.parent}",
            f"--python_out={out}", f"--grpc_python_out={out}", f"{package}/{schema.name}"]


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SYSTEMS:
        make(wanted)
