"""Runs the native generator, mrpc-load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class LoadError(Exception):
    """The generator could not run; the text is one line that says what to do."""

    exit_code = 1


class WrongUsage(LoadError):
    """Its arguments, or a file that they name, are not what it takes."""

    exit_code = 2


def find_binary() -> str:
    """$MRPC_LOAD_BINARY, else the one installed with this package, else on PATH. Raises LoadError."""
    beside = Path(__file__).parents[1] / "bin" / "mrpc-load"
    found = os.environ.get("MRPC_LOAD_BINARY") or (str(beside) if beside.exists() else shutil.which("mrpc-load"))
    if not found:
        raise LoadError("mrpc-load is not installed; build the project (pip install .) or name it by MRPC_LOAD_BINARY")
    return found


def run(arguments: Sequence[str], progress: Callable[[dict[str, int]], None] | None = None,
        env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Runs the generator to its end.

    Args:
        arguments: the native program's.
        progress: called about ten times a second with {"due", "sent", "completed"}.
        env: added to this process's environment.

    Returns:
        The program's JSON (native/load/report.h).

    Raises:
        LoadError: a target that cannot be set up (no daemon, unknown host). WrongUsage.
    """
    command = [find_binary(), *arguments, *(["--progress"] if progress else [])]
    environment = {**os.environ, **(env or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        errors: list[str] = []
        reader = threading.Thread(target=_read_stderr, args=(process.stderr, errors, progress))
        reader.start()
        try:
            output = process.stdout.read()
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()
    if process.returncode != 0:
        kind = WrongUsage if process.returncode == WrongUsage.exit_code else LoadError
        raise kind("; ".join(errors) or f"mrpc-load ended with code {process.returncode}")
    return json.loads(output)


def _read_stderr(lines: Any, errors: list[str], progress: Callable[[dict[str, int]], None] | None) -> None:
    for line in lines:
        if progress and line.startswith("{"):
            progress(json.loads(line))
        else:
            errors.append(line.strip().removeprefix("mrpc-load: "))


@contextmanager
def null_server() -> Iterator[str]:
    """A server for HTTP and gRPC that does as little as possible, for the time of the block. Yields its loopback port."""
    process = subprocess.Popen([find_binary(), "--null-server", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("null server on "):
            raise LoadError(process.stderr.read().strip().removeprefix("mrpc-load: ") or "the null server did not start")
        yield line.split()[-1]
    finally:
        process.terminate()
        process.communicate()
