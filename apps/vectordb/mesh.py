"""A mesh of its own with the vector database on it, for the demo and for trying things out; all of it is gone when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from apps.processes import Child, Group, StartError

ROOT = Path(__file__).parents[2]
POLICIES = Path(__file__).parent / "policies"
START_TIMEOUT_S = 60.0
BACKEND, SERVICE = "backend", "vectordb"  # apps: the web backend that this process plays, and the service
SERVICE_COMMAND = ("-m", "apps.vectordb", "serve", "--admin", BACKEND)


class Mesh(Group):
    """`with Mesh() as mesh:` runs mrpcd and the service; meanwhile this process is the app "backend", which may act for every tenant.

    folder: where everything lies, the database in folder/"data". StartError when a process does not come up.
    """

    prefix = "vectordb-"

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[str, str | None] = {}

    def memory_bytes(self) -> int:
        """Resident memory of the service."""
        return psutil.Process(self.pids[SERVICE]).memory_info().rss

    def command(self, *words: str) -> str:
        """What `mrpc WORDS …` prints on this mesh. StartError when it fails."""
        done = subprocess.run([sys.executable, "-m", "mrpc_service.cli", *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise StartError(f"mrpc {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        self.start_daemon()
        service = self._child(SERVICE, *SERVICE_COMMAND, "--dir", str(self.folder / "data"), token=self.register(SERVICE))
        service.wait_for_line("ready", START_TIMEOUT_S)
        self._set_environment(MRPC_TOKEN=self.register(BACKEND, "--act-as", "*"))

    def start_daemon(self) -> None:
        runtime = self.folder / "mrpc"
        runtime.mkdir(mode=0o700)
        self._set_environment(MRPC_RUNTIME_DIR=str(runtime), PYTHONPATH=os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)])))
        config = self.folder / "policies"
        config.mkdir()
        self._child("mrpcd", "-m", "mrpc_service.daemon", "--runtime-dir", str(runtime), "--config", str(config)).wait_for_line(
            "mrpcd ready", START_TIMEOUT_S)

    def register(self, app: str, *words: str) -> str:
        """The token of an app of this user."""
        return self.command("app", "register", app, "--uid", str(os.getuid()), *words, "--quiet").strip()

    def _child(self, name: str, *words: str, token: str = "") -> Child:
        return self.spawn(name, [sys.executable, *words], {"MRPC_TOKEN": token, "MRPC_LABEL": name})

    def _set_environment(self, **values: str) -> None:
        for name, value in values.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def stop(self) -> None:
        super().stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
