"""Daemons that are replaced while callers call: what the benchmark, the tests and two_builds.sh have in common."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.common.process import Child, NotStarted

READY = r"(mrpcd ready at .*)"
LISTENING = re.compile(r"for daemons on (\S+)")


@dataclass(frozen=True)
class Build:
    """A checkout whose mrpcd can be run. `root`: None for the one that this runs from."""

    root: Path | None = None

    def environ(self) -> dict[str, str]:
        return {"PYTHONPATH": f"{self.root}/stubs:{self.root}"} if self.root else {}


class Daemon:
    """One place in a mesh: the process that serves it is replaced again and again."""

    def __init__(self, directory: Path, *flags: str, build: Build = Build()) -> None:
        """Starts the first. NotStarted."""
        self.directory = directory
        self.process = self._start(build, *flags)

    def _start(self, build: Build, *flags: str) -> Child:
        command = [sys.executable, "-m", "mrpc_service.daemon", "--runtime-dir", str(self.directory), *flags]
        return Child(command, READY, {"PYTHONUNBUFFERED": "1", **build.environ()})

    def take_over(self, *flags: str, build: Build = Build()) -> None:
        """Replace it by a successor. NotStarted when that did not come up; the old one serves on then."""
        successor = self._start(build, "--takeover", *flags)
        old, self.process = self.process, successor
        code = old.process.wait(30)
        text = old.errors()
        old.stop()
        if code != 0:
            raise NotStarted(f"the predecessor ended with {code}: {text}")

    def stop(self) -> None:
        self.process.stop()


class Caller:
    """A process of bench.upgrade.caller."""

    def __init__(self, folder: Path, runtime: Path, name: str, threads: int, size: int) -> None:
        command = [sys.executable, "-m", "bench.upgrade.caller", str(folder), name, str(threads), str(size)]
        self.child = Child(command, "ready", {"MRPC_RUNTIME_DIR": str(runtime)}, stdin=True)

    def ask(self) -> None:
        self.child.process.stdin.write("mark\n")
        self.child.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        line = self.child.process.stdout.readline()
        if not line:
            raise NotStarted(f"a caller ended: {self.child.errors()}")
        return json.loads(line)

    def finish(self) -> dict[str, Any]:
        self.child.process.stdin.close()
        return self.answer()


@dataclass
class Mesh:
    """One server, behind one daemon or two, and callers. Use as a context."""

    folder: Path
    two_hosts: bool = False
    build: Build = Build()
    flags: tuple[str, ...] = ()  # of each daemon
    callers: list[Caller] = field(default_factory=list)
    daemons: list[Daemon] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Mesh:
        from bench.upgrade import generated

        generated.generate(self.folder)
        with contextlib.ExitStack() as stack:
            serving = self._daemon(stack, "serving", *(("--listen", "127.0.0.1:0", "--insecure", "--node", "serving") if self.two_hosts else ()))
            if self.two_hosts:
                self._daemon(stack, "calling", "--peer", self._address(serving), "--node", "calling")
            server = [sys.executable, "-m", "bench.upgrade.server", str(self.folder)]
            self.server = stack.enter_context(Child(server, "ready", {"MRPC_RUNTIME_DIR": str(serving.directory)}, stdin=True))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _daemon(self, stack: contextlib.ExitStack, name: str, *flags: str) -> Daemon:
        daemon = Daemon(self.folder / name, *flags, *self.flags, build=self.build)
        stack.callback(daemon.stop)
        self.daemons.append(daemon)
        return daemon

    def _address(self, daemon: Daemon) -> str:
        from mrpc_service.control.client import ControlClient
        from mrpc_service.runtime_dir import RuntimeDir

        with ControlClient(RuntimeDir(daemon.directory)) as client:
            return client.call("GetStatus").listen

    @property
    def calling(self) -> Path:
        """The runtime directory of the daemon that callers use."""
        return self.daemons[-1].directory

    def add_caller(self, name: str, threads: int, size: int) -> None:
        caller = Caller(self.folder, self.calling, name, threads, size)
        self._stack.enter_context(caller.child)
        self.callers.append(caller)

    def mark(self) -> list[dict[str, Any]]:
        """What each caller saw since the last mark."""
        for caller in self.callers:
            caller.ask()
        return [caller.answer() for caller in self.callers]

    def finish(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """End the calls; what each caller and the server saw."""
        seen = [caller.finish() for caller in self.callers]
        self.server.process.stdin.close()
        return seen, json.loads(self.server.process.stdout.readline())


def faults(seen: Sequence[Mapping[str, Any]], server: Mapping[str, Any]) -> list[str]:
    """What went wrong, in words: nothing may."""
    found = [f"a caller's call failed: {error}" for each in seen for error in each["errors"]]
    found += [f"{each['wrong']} replies were not those of their calls" for each in seen if each["wrong"]]
    found += [f"{server[kind]} calls were {kind}" for kind in ("lost", "doubled") if server[kind]]
    for each in seen:
        found += [
            f"{name} made {last} calls, the server saw {server['last'].get(name)}"
            for name, last in each.get("last", {}).items() if server["last"].get(name) != last
        ]
    return found


@contextlib.contextmanager
def temporary_mesh(two_hosts: bool, build: Build = Build(), flags: tuple[str, ...] = ()) -> Iterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="mrpc-upgrade-") as folder, Mesh(Path(folder), two_hosts, build, flags) as mesh:
        yield mesh
