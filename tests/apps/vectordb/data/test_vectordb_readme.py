"""The README's blocks do what they say: `<!-- try: python|shell -->` is run as written, `<!-- prints -->` is what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apps.vectordb.mesh import Mesh

ROOT = Path(__file__).parents[4]
README = (ROOT / "apps" / "vectordb" / "README.md").read_text()
BLOCK = re.compile(r"^<!-- try: (\w+) -->\n```\w+\n(.*?)^```\n<!-- prints -->\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"`(mrpc (?:call|policy) [^`…]+)`")  # complete ones, of the operators' table
INTERPRETERS = {"python": [sys.executable, "-c"], "shell": ["bash", "-e", "-c"]}


def test_blocks_and_commands_do_what_the_page_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall(README)
    assert [kind for kind, *_ in blocks] == ["python", "shell", "python", "python"]
    with Mesh():
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for kind, script, printed in blocks:
            done = subprocess.run([*INTERPRETERS[kind], script], cwd=tmp_path, env=environment, text=True, capture_output=True)
            assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)
        for command in COMMAND.findall(README):
            subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m (apps\.[\w.]+)", README))))
def test_modules_that_the_page_names_are_there(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0 and module in done.stdout


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:pytest|apply) ((?:tests|apps)/\S+?)[`, ]", README))))
def test_paths_that_the_page_names_are_there(path: str) -> None:
    assert (ROOT / path).exists()
