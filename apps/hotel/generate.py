"""Makes the generated code: `python -m apps.hotel.generate [mrpc|grpc]`.

Nothing generated is committed. rpc.py calls ensure() before it imports, so that the code is made when it is missing or
older than its schema. Both systems get modules of the same names, hotel_pb2 and hotel_pb2_grpc, health_pb2 and
health_pb2_grpc.
"""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from apps import codegen
from apps.codegen import PROTO, SYSTEMS

SCHEMA = PROTO / "hotel" / "hotel.proto"
HEALTH = PROTO / "grpc" / "health" / "v1" / "health.proto"
APP = Path(__file__).parent


def ensure(system: str) -> None:
    """Makes the system's code if it is missing or older than the schemas. RuntimeError says what protoc disliked."""
    codegen.ensure(APP, system, (SCHEMA, HEALTH))


def descriptors(out: Path) -> bytes:
    """The schema as a serialized FileDescriptorSet, written to out on the way."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{SCHEMA.parent}", "--include_imports",
                    f"--descriptor_set_out={out}", SCHEMA.name], check=True)
    return out.read_bytes()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SYSTEMS:
        codegen.make(APP, wanted, (SCHEMA, HEALTH))
