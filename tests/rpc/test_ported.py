"""A program that was written for grpcio runs over mrpc when one import is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mrpc.protoc import main as mrpc_protoc

HERE = Path(__file__).parent


def run(folder: Path, grpc_import: str) -> str:
    text = (HERE / "ported_program.py").read_text().replace("import grpc\n", grpc_import + "\n")
    (folder / "program.py").write_text(text)
    done = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def over_grpc(tmp_path: Path) -> str:
    from grpc_tools import protoc

    arguments = [f"--{name}={tmp_path}" for name in ("python_out", "grpc_python_out")]
    assert protoc.main(["protoc", f"-I{HERE}", *arguments, "echo.proto"]) == 0
    return run(tmp_path, "import grpc")


def test_the_same_program_says_the_same_over_both(daemon: Any, over_grpc: str, tmp_path: Path) -> None:
    folder = tmp_path / "mrpc"
    folder.mkdir()
    assert mrpc_protoc(["-I", str(HERE), "--out", str(folder), "--opt", "grpc_names", "echo.proto"]) == 0
    assert run(folder, "import mrpc as grpc") == over_grpc
    assert "reply: hello" in over_grpc
