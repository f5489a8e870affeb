"""Processes under measurement: started, watched for being ready, their CPU time and memory read from /proc, ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 10
LAST_LINES = 5


class NotStarted(Exception):
    """A process ended, or said something else, before it was ready. The text has its last lines."""


class Child:
    """A process that prints a line on stdout when it is ready.

    What it prints after that is read and let go, or else it would stand still once the pipe is full: 64 KiB. With `stdin` the pipes
    are a dialogue, and the owner reads.

    Args:
        command: what to run.
        ready: regular expression of that line; its first group, if it has one, becomes `answer`. None: ready at once.
        env: added to this process's environment.
        netns: network namespace to run in.
    """

    def __init__(self, command: Sequence[str], ready: str | None, env: Mapping[str, str] | None = None, netns: str | None = None,
                 stdin: bool = False) -> None:
        inside = ["ip", "netns", "exec", netns] if netns else []
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            [*inside, *command], stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self._errors, text=True, env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        self.answer = ""
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._reader: threading.Thread | None = None
        if ready is not None:
            self._await(ready)
        if not stdin:
            self._reader = threading.Thread(target=self._read_rest, daemon=True)  # closes stdout in the end
            self._reader.start()

    def _await(self, ready: str) -> None:
        for line in self.process.stdout:
            if found := re.search(ready, line):
                self.answer = found.group(1) if found.re.groups else ""
                return
            self._said.append(line.strip())
        text = self.errors()
        self.stop()
        raise NotStarted(f"{' '.join(map(str, self.process.args[:4]))} ...: {text or 'it ended without a word'}")

    def _read_rest(self) -> None:
        with self.process.stdout:
            self._said.extend(map(str.strip, self.process.stdout))

    def errors(self) -> str:
        """The last lines of its stderr, or of stdout when there are none."""
        self._errors.seek(0)
        return "; ".join(self._errors.read().strip().splitlines()[-LAST_LINES:] or list(self._said))

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, None if self._reader else self.process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):  # orders that it did not live to read
                if pipe:
                    pipe.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= family(int(child))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time so far of processes and their live descendants, threads that have ended included, to the nanosecond."""
    everyone: set[int] = set().union(*(family(pid) for pid in pids))
    return sum(time.clock_gettime(_cpu_clock(pid)) for pid in everyone)


def _cpu_clock(pid: int) -> int:
    """clock_getcpuclockid(3): the kernel's number for the CPU clock of a process."""
    return (~pid << 3) | 2


def memory_mib(pid: int, field: str = "Rss") -> float:
    """A field of /proc/PID/smaps_rollup (Rss, Pss_Anon, Pss_Shmem...) in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc knows no {field}")


def shared_memory_mib() -> float:
    """Shared memory of the whole machine: memfds count here and in no process's anonymous memory."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) / 1024
    raise ValueError("/proc/meminfo knows no Shmem")
