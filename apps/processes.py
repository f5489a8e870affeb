"""Child processes that never outlive their parent.

Each child leads a process group of its own (so that Ctrl-C reaches only the parent, which then ends them in order),
dies with its parent, even by kill -9 (PR_SET_PDEATHSIG), logs to a file, and tells by a line on stdout that it serves.
"""
from __future__ import annotations

import ctypes
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


class StartError(RuntimeError):
    """A process did not come up; the text has the end of its log."""


class Child:
    """Starts the command at once. env adds to this process's environment."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name, self._log = name, log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                                             env={**os.environ, **(env or {})}, start_new_session=True,
                                             preexec_fn=_die_with_parent)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait_for_line(self, text: str, timeout_s: float) -> None:
        """Waits until the child prints a line with the text. StartError if it ends or stays silent."""
        deadline = time.monotonic() + timeout_s
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while text.encode() not in seen:
                if not selector.select(deadline - time.monotonic()):
                    raise StartError(f"{self.name} was not ready after {timeout_s:.0f} s; its log:\n{self.log_tail()}")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise StartError(f"{self.name} ended before it was ready; its log:\n{self.log_tail()}")
                seen += chunk

    def check(self) -> None:
        """StartError if the child has ended."""
        if self.has_ended:
            raise StartError(f"{self.name} ended ({self._process.returncode}); its log:\n{self.log_tail()}")

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ends the child's whole group: by SIGTERM, and after five seconds by SIGKILL."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        self.kill()
        self._process.stdout.close()

    def kill(self) -> None:
        """Ends the child's whole group at once, by SIGKILL."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Group:
    """Children that end together, those started last first, and a temporary folder for what they write, their logs among it.

    `with` starts them by start(), which a subclass has; when that fails, what did start is ended.
    """

    prefix = "group-"    # of the folder's name
    keep_folder = False  # when all has ended

    def __init__(self) -> None:
        self._children: list[Child] = []
        self.folder = Path()

    def start(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=self.prefix))
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Of every process, by name, in the order in which they were started."""
        return {child.name: child.pid for child in self._children}

    def check(self) -> None:
        """StartError if one of the processes has ended."""
        for child in self._children:
            child.check()

    def log_tail(self, name: str) -> str:
        """The end of a process's log."""
        return next(child for child in self._children if child.name == name).log_tail()

    def spawn(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Starts one more."""
        child = Child(name, command, log=self.folder / f"{name}.log", env=env)
        self._children.append(child)
        return child

    def stop(self) -> None:
        for child in self._children:
            child.ask_to_stop()
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        if not self.keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """So many different ports of 127.0.0.1 that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
