"""Where a daemon lives: its runtime directory, its lock and its sockets.

    DIR/                0755   $MRPC_RUNTIME_DIR, else /run/mrpc as root, else $XDG_RUNTIME_DIR/mrpc
      app.sock          0666   applications of any user attach here; the data plane binds it
      operator/         0700   made before the socket in it is bound
        control.sock    0600   the operators' gRPC API
        takeover.sock   0600   a successor connects here (takeover/)
      daemon.pid        0600   holds an flock for the daemon's life, and its pid; another user who could open it could
                               take the lock and keep a daemon from starting

Only the holder of the lock touches the sockets, so one that is found under the lock is stale and is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mrpc_service.errors import StartupError

KERNEL_OLDEST = (6, 5)  # SO_PEERPIDFD, by which the daemon is told of an application's death
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un


@dataclass(frozen=True)
class RuntimeDir:
    path: Path

    @property
    def app_socket(self) -> Path:
        return self.path / "app.sock"

    @property
    def operator_dir(self) -> Path:
        return self.path / "operator"

    @property
    def control_socket(self) -> Path:
        return self.operator_dir / "control.sock"

    @property
    def takeover_socket(self) -> Path:
        return self.operator_dir / "takeover.sock"

    @property
    def sockets(self) -> tuple[Path, ...]:
        return self.app_socket, self.control_socket, self.takeover_socket

    @property
    def pid_file(self) -> Path:
        return self.path / "daemon.pid"


def locate(flag: str | None = None, environ: Mapping[str, str] = os.environ) -> RuntimeDir:
    """The runtime directory that flag, environment and user name; applications find it by the same rule."""
    chosen = flag or environ.get("MRPC_RUNTIME_DIR")
    if chosen:
        return RuntimeDir(Path(chosen).absolute())
    if os.geteuid() == 0:
        return RuntimeDir(Path("/run/mrpc"))
    return RuntimeDir(Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}", "mrpc"))


def locate_state(flag: str | None, runtime_flag: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where what outlives the daemon is kept.

    A daemon with a runtime directory of its own keeps its state there too, so that trials beside the system's daemon
    do not share its names.
    """
    if flag or environ.get("MRPC_STATE_DIR"):
        return Path(flag or environ["MRPC_STATE_DIR"]).absolute()
    if environ.get("STATE_DIRECTORY"):  # systemd's StateDirectory=
        return Path(environ["STATE_DIRECTORY"].split(":")[0]).resolve()  # a link, where the unit has DynamicUser=
    own = runtime_flag or environ.get("MRPC_RUNTIME_DIR")
    if own:
        return Path(own).absolute() / "state"
    if os.geteuid() == 0:
        return Path("/var/lib/mrpc")
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home, "mrpc")


def check_kernel(release: str) -> None:
    """StartupError if this kernel cannot tell of a process's death by SO_PEERPIDFD."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found or (int(found[1]), int(found[2])) < KERNEL_OLDEST:
        need = ".".join(map(str, KERNEL_OLDEST))
        raise StartupError(f"Linux {release} is too old: mrpcd needs {need} or later (SO_PEERPIDFD); boot a newer kernel")


def prepare(runtime: RuntimeDir) -> None:
    """Make the directories with their modes. StartupError if another user could interfere, or they cannot be written."""
    for path in runtime.sockets:
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise StartupError(f"{path} is longer than a socket's name may be, {SOCKET_PATH_BYTES_MAX} bytes; choose a shorter --runtime-dir")
    make_directory(runtime.path, 0o755)
    make_directory(runtime.operator_dir, 0o700)


def make_directory(path: Path, mode: int) -> None:
    """A directory of this user's with this mode. StartupError."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise StartupError(f"{path} is not a directory; remove it, or choose another --runtime-dir")
        if found.st_uid != os.geteuid():
            hint = "who could replace what is in it; choose another directory"
            raise StartupError(f"{path} belongs to uid {found.st_uid}, {hint}")
        path.chmod(mode)
    except OSError as error:
        hint = f"make it writable for uid {os.geteuid()}, or choose another directory"
        raise StartupError(f"cannot use directory {path}: {error.strerror}; {hint}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartupError(f"cannot write in {path}; make it writable for uid {os.geteuid()}, or choose another directory")


def lock(runtime: RuntimeDir) -> int:
    """Take the lock, held until the returned descriptor is closed. StartupError if another daemon has it."""
    try:
        fd = os.open(runtime.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartupError(f"cannot open {runtime.pid_file}: {error.strerror}; choose another --runtime-dir") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StartupError(
            f"another mrpcd (pid {holder}) already serves {runtime.path}; use it, stop it, or choose another --runtime-dir"
        ) from None
    try:
        sign(fd)
    except OSError as error:
        os.close(fd)
        raise StartupError(f"cannot write {runtime.pid_file}: {error.strerror}; make room, or choose another --runtime-dir") from None
    return fd


def sign(fd: int) -> None:
    """Put this process's pid into the lock that it holds: its own, or one handed over by its predecessor."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def bind_private(path: Path, kind: socket.SocketKind) -> socket.socket:
    """A socket that this user alone can connect to, from its first moment. Its directory stands."""
    bound = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(mask)
    return bound


def holder_pid(runtime: RuntimeDir) -> int | None:
    """Pid of the daemon that holds the lock; None if nobody does, or it is not for this user to know."""
    try:
        fd = os.open(runtime.pid_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        text = os.pread(fd, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)


def remove_stale_sockets(runtime: RuntimeDir) -> list[Path]:
    """Remove what a daemon that died has left; only for the holder of the lock. Returns what was removed."""
    stale = [path for path in runtime.sockets if path.is_symlink() or path.exists()]
    for path in stale:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise StartupError(f"{path} is in the way and is not a socket; remove it, or choose another --runtime-dir")
        path.unlink()
    return stale


def remove_sockets(runtime: RuntimeDir) -> None:
    """At the end of an orderly stop, so that clients get 'no mrpcd' at once."""
    for path in runtime.sockets:
        path.unlink(missing_ok=True)
