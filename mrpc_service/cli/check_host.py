"""What a host must offer before mrpcd can run on it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import os
import platform
import resource
import socket
import sys
from collections.abc import Iterator

from mrpc_service.cli.findings import Finding, failed, passed, warned
from mrpc_service.errors import StartupError
from mrpc_service.policy.build import BuildError, find_compiler
from mrpc_service.runtime_dir import RuntimeDir, check_kernel

PYTHON_OLDEST = (3, 11)
OPEN_FILES_LOW = 1024
SO_PEERPIDFD = 77  # of linux/socket.h; Python's socket module has no name for it
MFD_NOEXEC_SEAL = 8
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}
FUTEX_WAKE = 1


def findings(runtime: RuntimeDir) -> Iterator[Finding]:
    yield python_version()
    yield kernel()
    yield memory_files()
    yield futex()
    yield peer_death()
    yield open_files()
    yield native_module("data plane", "mrpc_service._dataplane")
    yield native_module("stubs", "mrpc._native")
    yield c_compiler()
    yield directory(runtime)


def python_version() -> Finding:
    found = platform.python_version()
    if sys.version_info < PYTHON_OLDEST:
        return failed("Python", f"{found} is too old", f"install Python {'.'.join(map(str, PYTHON_OLDEST))} or later")
    return passed("Python", found)


def kernel(release: str | None = None) -> Finding:
    release = release or os.uname().release
    try:
        check_kernel(release)
    except StartupError as error:
        text, _, mend = str(error).partition("; ")
        return failed("kernel", text, mend)
    return passed("kernel", f"Linux {release}")


def memory_files() -> Finding:
    """Can memory be shared that nobody can shrink or execute?"""
    try:
        fd = os.memfd_create("mrpc-check", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC | MFD_NOEXEC_SEAL)
        try:
            os.ftruncate(fd, 4096)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        finally:
            os.close(fd)
    except OSError as error:
        return failed("sealed memory", f"memfd_create: {error.strerror}", "allow memfd_create and fcntl in this sandbox")
    return passed("sealed memory", "memfd_create with seals works")


def futex() -> Finding:
    """Can a sleeper be woken through shared memory? Some sandboxes filter it."""
    number = SYS_FUTEX.get(platform.machine())
    if number is None:
        return warned("futex", f"not tested on {platform.machine()}", "report whether mrpcd runs there")
    libc = ctypes.CDLL(None, use_errno=True)
    word = ctypes.c_uint32(0)
    if libc.syscall(number, ctypes.byref(word), FUTEX_WAKE, 1, None, None, 0) < 0:
        reason = errno.errorcode.get(ctypes.get_errno(), "?")
        return failed("futex", f"futex: {reason}", "allow futex in the sandbox that this runs in")
    return passed("futex", "works")


def peer_death() -> Finding:
    """Does the kernel give a handle on the process at the other end of a socket?"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        try:
            os.close(ours.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
        except OSError as error:
            mend = "use Linux 6.5 or later, without a filter on getsockopt"
            return failed("peer's pidfd", f"SO_PEERPIDFD: {error.strerror}", mend)
    return passed("peer's pidfd", "SO_PEERPIDFD works")


def open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES_LOW:
        return warned("open files", f"at most {soft}; each application takes about 8", f"ulimit -n {min(hard, 65536)}")
    return passed("open files", f"up to {soft}")


def native_module(name: str, module: str) -> Finding:
    try:
        importlib.import_module(module)
    except ImportError as error:
        return failed(f"native {name}", f"cannot be loaded: {error}", "build it with 'pip install -e .', or reinstall")
    return passed(f"native {name}", "loaded")


def c_compiler() -> Finding:
    """Can policy programs be compiled? Native engines do without."""
    try:
        found = find_compiler()
    except BuildError:
        return warned("C compiler", "none; policy programs cannot be compiled, native engines work", "apt-get install gcc, or set CC")
    return passed("C compiler", " ".join(found))


def directory(runtime: RuntimeDir) -> Finding:
    path = runtime.path
    if not path.exists():
        parent = next(each for each in path.parents if each.exists())
        if os.access(parent, os.W_OK):
            return passed("runtime directory", f"{path} will be made by mrpcd")
        return failed("runtime directory", f"{path} cannot be made in {parent}", "start mrpcd as root, or set MRPC_RUNTIME_DIR")
    found = path.stat()
    if found.st_mode & 0o022:
        text = f"{path} can be written by other users, who could replace its sockets"
        return warned("runtime directory", text, f"chmod 755 {path}")
    return passed("runtime directory", f"{path} of uid {found.st_uid}")
