"""Writes descriptors.h from the .proto files beside it: python tests/native/message/make_descriptors.py (needs grpcio-tools)."""

import tempfile
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent


def descriptor_set(proto: Path) -> bytes:
    with tempfile.NamedTemporaryFile() as out:
        arguments = ["protoc", f"-I{proto.parent}", "--include_imports", f"--descriptor_set_out={out.name}", proto.name]
        if protoc.main(arguments) != 0:
            raise SystemExit(f"protoc failed on {proto}")
        return out.read()


def array(name: str, data: bytes) -> str:
    lines = [", ".join(str(byte) for byte in data[at : at + 32]) for at in range(0, len(data), 32)]
    return f"inline constexpr unsigned char {name}[] = {{\n    " + ",\n    ".join(lines) + "};\n"


def main() -> None:
    parts = [array(f"k{proto.stem.capitalize()}Set", descriptor_set(proto)) for proto in sorted(HERE.glob("*.proto"))]
    header = "// Written by make_descriptors.py: FileDescriptorSets of the .proto files beside it.\n#pragma once\n\n"
    (HERE / "descriptors.h").write_text(header + "namespace test {\n\n" + "\n".join(parts) + "\n}  // namespace test\n")


if __name__ == "__main__":
    main()
