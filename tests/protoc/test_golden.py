"""The generator's output for each option, byte for byte. MRPC_UPDATE_GOLDEN=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mrpc import protoc

PROTOS = Path(__file__).parents[1] / "protos"
GOLDEN = Path(__file__).parent / "golden"
FILES = ["shop/cart.proto", "shop/types/money.proto"]


@pytest.mark.parametrize(
    ("name", "options"),
    [("default", []), ("grpc_names", ["grpc_names"]), ("absolute", ["imports=absolute", "pyi=false"]), ("bare", ["init_files=false", "pyi=false"])],
)
def test_output(name: str, options: list[str]) -> None:
    made = protoc.compile_files(FILES, [str(PROTOS)], options)
    folder = GOLDEN / name
    if os.environ.get("MRPC_UPDATE_GOLDEN"):
        protoc.write({f"{path}.golden": content for path, content in made.items()}, folder)
    kept = {str(path.relative_to(folder)).removesuffix(".golden"): path.read_text() for path in folder.rglob("*.golden")}
    assert made == kept


def test_output_does_not_depend_on_the_order_of_files() -> None:
    assert protoc.compile_files(FILES, [str(PROTOS)]) == protoc.compile_files(FILES[::-1], [str(PROTOS)])
