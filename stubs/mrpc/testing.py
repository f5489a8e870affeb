"""A private mesh for tests: a daemon of their own, in a directory of their own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

_READY_LINE = "mrpcd ready"
_STOP_SECONDS = 20.0


class Mesh:
    """A running daemon. `runtime_dir` is what $MRPC_RUNTIME_DIR must be for programs that are to use it."""

    def __init__(self, runtime_dir: pathlib.Path, arguments: tuple[str, ...]) -> None:
        self.runtime_dir = runtime_dir
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self._process is not None, "the daemon is not running"
        return self._process.pid

    def start(self) -> None:
        """Starts the daemon and waits until it serves. Raises RuntimeError with the end of its log when it does not come up."""
        command = [sys.executable, "-m", "mrpc_service.daemon", "--runtime-dir", str(self.runtime_dir), *self._arguments]
        log = self.runtime_dir / "mrpcd.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(_READY_LINE):
                self._process = process
                return
        code = process.wait()
        raise RuntimeError(f"mrpcd did not come up (exit code {code}); the end of its log:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Lets the daemon drain and end, and kills it when it does not."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def kill(self) -> None:
        """Ends the daemon at once, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
        self.stop()


@contextlib.contextmanager
def mesh(*arguments: str) -> Iterator[Mesh]:
    """Runs a private daemon, with `arguments` added to its command line, and sets $MRPC_RUNTIME_DIR meanwhile.

    Channels and servers that are opened inside use it. Raises RuntimeError when the daemon does not come up.
    """
    before = os.environ.get("MRPC_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="mrpc-", ignore_cleanup_errors=True) as directory:
        running = Mesh(pathlib.Path(directory), arguments)
        os.environ["MRPC_RUNTIME_DIR"] = directory
        try:
            running.start()
            yield running
        finally:
            running.stop()
            if before is None:
                del os.environ["MRPC_RUNTIME_DIR"]
            else:
                os.environ["MRPC_RUNTIME_DIR"] = before
