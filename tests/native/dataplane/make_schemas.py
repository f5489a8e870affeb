"""Writes schemas.h: FileDescriptorSets of echo.proto, of a client's deviant copy of it, and of orders.proto. Run by hand when they change."""

import tempfile
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent


def descriptor_set(proto: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        if protoc.main(["protoc", f"-I{HERE}", "--include_imports", f"--descriptor_set_out={out}", proto]) != 0:
            raise SystemExit(f"protoc refused {proto}")
        return out.read_bytes()


def array(name: str, data: bytes) -> str:
    rows = [", ".join(str(b) for b in data[i : i + 30]) for i in range(0, len(data), 30)]
    return f"inline constexpr unsigned char {name}[] = {{\n    " + ",\n    ".join(rows) + "};\n"


(HERE / "schemas.h").write_text(
    "// Written by make_schemas.py from echo.proto, deviant.proto and orders.proto.\n#pragma once\n\n"
    + array("kEchoSchema", descriptor_set("echo.proto"))
    + "\n"
    + array("kDeviantSchema", descriptor_set("deviant.proto"))
    + "\n"
    + array("kOrdersSchema", descriptor_set("orders.proto"))
)
