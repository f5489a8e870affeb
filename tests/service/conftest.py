"""A real mrpcd in a process of its own, in a directory of its own, for each test that asks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mrpc_service.control.client import ControlClient
from mrpc_service.runtime_dir import RuntimeDir

TIMEOUT_S = 30


class Mrpcd:
    """A daemon that has said that it is ready."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.runtime = RuntimeDir(directory)
        self.stderr_path = directory.parent / f"{directory.name}.stderr"
        with self.stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                self.command(directory, *flags), stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        assert self.ready_line.startswith("mrpcd ready"), self.stderr_path.read_text()

    def command(self, directory: Path, *flags: str) -> list[str]:
        return daemon_command(directory, *flags)

    def client(self) -> ControlClient:
        return ControlClient(self.runtime)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `mrpc` against this daemon."""
        command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(self.runtime.path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)

    def cli_json(self, *arguments: str) -> Any:
        done = self.cli(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def wait_log(self, text: str) -> str:
        """The first line of the log that has `text` in it, past or to come."""
        with self.client() as client:
            lines = client.stream("ReadLogs", follow=True)
            found = next(line.text for line in lines if text in line.text)
            lines.close()
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


def daemon_command(directory: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "mrpc_service.daemon", "--runtime-dir", str(directory), *flags]


def run_daemon(directory: Path, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to refuse to start."""
    return subprocess.run(daemon_command(directory, *flags), capture_output=True, text=True, timeout=TIMEOUT_S, **options)


@pytest.fixture
def start_mrpcd(tmp_path: Path) -> Iterator[Callable[..., Mrpcd]]:
    """Starts daemons: `start_mrpcd(*flags, name="a")`; the same name (and parent) is the same directory."""
    started: list[Mrpcd] = []

    def start(*flags: str, name: str = "mrpc", parent: Path = tmp_path, kind: type[Mrpcd] = Mrpcd) -> Mrpcd:
        daemon = kind(parent / name, *flags)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait(TIMEOUT_S)
        assert daemon.process.stdout is not None
        daemon.process.stdout.close()


@pytest.fixture
def mrpcd(start_mrpcd: Callable[..., Mrpcd]) -> Mrpcd:
    return start_mrpcd()


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    socket_path = tmp_path_factory.mktemp("redis") / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket_path), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=socket_path.parent) as server:
        assert server.stdout is not None
        next(line for line in server.stdout if "Ready to accept connections" in line or "ready to accept" in line)
        yield f"unix://{socket_path}"
        server.terminate()
        server.stdout.read()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as a second user, which only root can")
