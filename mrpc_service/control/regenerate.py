"""Makes control_pb2.py from proto/mrpc/control/control.proto: `python -m mrpc_service.control.regenerate`.

The generated file is committed, so that the daemon needs no protobuf compiler; a test compares it with the schema.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

PROTO_ROOT = Path(__file__).parents[2] / "proto"
SCHEMA = "mrpc/control/control.proto"
HERE = Path(__file__).parent


def generate() -> dict[str, str]:
    """Contents of the generated files by name."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as out:
        arguments = ["protoc", f"-I{PROTO_ROOT}", f"--python_out={out}", f"--pyi_out={out}", SCHEMA]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"protoc refused {SCHEMA}; its reason is above")
        made = Path(out, SCHEMA).parent
        return {path.name: path.read_text() for path in sorted(made.glob("control_pb2.py*"))}


def main() -> int:
    for name, text in generate().items():
        (HERE / name).write_text(text)
        print(f"wrote {HERE / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
