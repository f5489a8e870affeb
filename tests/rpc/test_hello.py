"""The example that README shows first works as written there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"


def test_hello(daemon: Any, tmp_path: Path) -> None:
    for name in ("hello.proto", "server.py", "client.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    generate = [sys.executable, "-m", "mrpc.protoc", "-I", ".", "--out", ".", "hello.proto"]
    subprocess.run(generate, cwd=tmp_path, check=True, timeout=60)
    server = subprocess.Popen([sys.executable, "server.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == "serving hello.Greeter\n"
        client = [sys.executable, "client.py", "you"]
        done = subprocess.run(client, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("Hello, you!\n", "")
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
