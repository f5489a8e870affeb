"""One process at a time in a directory."""
from __future__ import annotations

import fcntl
import os
from pathlib import Path

from .disk import translated
from .errors import Locked


class DirectoryLock:
    """Held until close(), or until the process ends, however it ends. Makes the directory. Locked says who has it."""

    def __init__(self, folder: Path) -> None:
        with translated(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise Locked(f"{folder} is open in process {holder or 'unknown'}: one process at a time may have it") from None
        with translated(folder):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        os.close(self._fd)
