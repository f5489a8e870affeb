"""The service as a process, and the examples of its --help, as written."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mrpc import testing

from apps.vectordb import __main__ as program
from apps.vectordb.client import Client, models

ROOT = Path(__file__).parents[4]


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """`python -m apps.vectordb serve` until the block ends; its line that says ready."""
    with subprocess.Popen([sys.executable, "-m", "apps.vectordb", "serve", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("ready"):
                break
        try:
            yield lines[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.parametrize("text", ["gold", "=3", "gold=", "gold=0", "gold=-1", "gold=nan", "gold=inf"])
def test_a_weight_is_a_tenant_and_a_positive_share(text: str) -> None:
    assert program.weight("a=b=0.5") == ("a=b", 0.5)
    with pytest.raises(ValueError):
        program.weight(text)


def examples() -> list[str]:
    """The commands behind "then:", one a line."""
    return [line.strip() for line in program.EXAMPLES.split("then:")[1].splitlines() if line.strip().startswith("mrpc ")]


@pytest.fixture(scope="module")
def daemon() -> Iterator[testing.Mesh]:
    with testing.mesh() as running:
        yield running


def test_the_examples_of_help_work_as_written(daemon: testing.Mesh, tmp_path: Path) -> None:
    printed = []
    with served("--dir", str(tmp_path / "db")):
        for command in examples():
            done = subprocess.run([sys.executable, "-m", "mrpc_service.cli", *shlex.split(command)[1:]], capture_output=True, text=True, cwd=ROOT)
            assert done.returncode == 0, f"{command}: {done.stderr}"
            printed.append(done.stdout)
    assert len(printed) == 5
    assert '{"year":2026}' in printed[2].replace("\\", "") and "SERVING" in printed[3]


def test_what_was_acknowledged_is_there_after_a_restart(daemon: testing.Mesh, tmp_path: Path) -> None:
    for again in (False, True):
        with served("--dir", str(tmp_path / "db")), Client() as client:
            if not again:
                client.create_collection("papers", models.VectorParams(2, models.Distance.DOT))
                client.upsert("papers", [models.PointStruct(1, [1, 2], {"a": 1})])
            assert client.query_points("papers", [1, 1]).points[0].score == 3


def test_the_same_over_grpc(tmp_path: Path) -> None:
    with served("--dir", str(tmp_path / "db"), "--transport", "grpc", "--admin", "operator", "--newcomers") as ready:
        port = ready.rpartition(" ")[2]
        with Client(f"127.0.0.1:{port}", tenant="operator", system="grpc") as client:
            client.create_collection("papers", models.VectorParams(2, models.Distance.DOT))
        with Client(f"127.0.0.1:{port}", tenant="new", system="grpc") as client:
            assert client.upsert("papers", [models.PointStruct(1, [1, 2])]).count == 1
    assert not os.environ.get("MRPC_TOKEN")


def test_a_second_process_on_the_directory_is_refused(tmp_path: Path) -> None:
    arguments = ["--dir", str(tmp_path / "db"), "--transport", "grpc"]
    with served(*arguments):
        second = subprocess.run([sys.executable, "-m", "apps.vectordb", "serve", *arguments], capture_output=True, text=True, cwd=ROOT)
    assert second.returncode == 1 and "Traceback" not in second.stderr and str(tmp_path / "db") in second.stderr
