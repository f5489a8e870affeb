"""make doctor: what this machine has of what the project needs; one line each, and how to mend what is missing.

Runs before anything is installed, so it uses the standard library only. Exit code 1 when something is missing that nothing works without.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable

KERNEL_MIN = (6, 5)
MEMORY_MIN_GIB = 3
TOKEN_HEADERS = ("openssl/evp.h", "nlohmann/json.hpp")
WIRE_HEADERS = ("zstd.h",)
SIMD_HEADERS = ("hwy/highway.h",)
Check = tuple[bool | None, str]  # True: there; False: missing; None: missing, and something is skipped


def kernel() -> Check:
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    return release >= KERNEL_MIN, f"Linux {platform.release()} (6.5 or later tells the daemon who attaches: SO_PEERPIDFD)"


def processor() -> Check:
    machine = platform.machine()
    return machine == "x86_64", f"{machine}, {os.cpu_count()} cores (x86-64 is what this release runs on)"


def python() -> Check:
    version = sys.version_info
    return (3, 11) <= version[:2] <= (3, 13), f"Python {platform.python_version()} (3.11 to 3.13; on Debian: apt-get install python3 python3-venv)"


def venv() -> Check:
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return False, "python3 -m venv does not work (apt-get install python3-venv)"
    return True, "python3 -m venv works"


def headers() -> Check:
    import sysconfig

    path = os.path.join(sysconfig.get_path("include"), "Python.h")
    return os.path.exists(path), "Python's headers (apt-get install python3-dev)"


def compiler() -> Check:
    found = shutil.which("g++")
    if not found:
        return False, "no g++ (apt-get install g++; 12 or later, for C++20)"
    version = subprocess.run([found, "-dumpversion"], capture_output=True, text=True, check=False).stdout.strip()
    return int(version.split(".")[0]) >= 12, f"g++ {version} (12 or later, for C++20)"


def has_headers(headers: tuple[str, ...]) -> bool:
    return all(any(os.path.exists(f"{root}/{header}") for root in ("/usr/include", "/usr/local/include")) for header in headers)


def token_libraries() -> Check:
    return has_headers(TOKEN_HEADERS), "libcrypto and a JSON parser, for tokens (apt-get install libssl-dev nlohmann-json3-dev)"


def wire_library() -> Check:
    return has_headers(WIRE_HEADERS), "zstd, for messages between daemons (apt-get install libzstd-dev)"


def simd_library() -> Check:
    return has_headers(SIMD_HEADERS), "Highway, for the vector database's distances (apt-get install libhwy-dev)"


def memory() -> Check:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return gib >= MEMORY_MIN_GIB, f"{gib:.1f} GiB of memory (the build takes about {MEMORY_MIN_GIB})"


def shared_memory() -> Check:
    try:
        fd = os.memfd_create("mrpc-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.close(fd)
    except OSError as error:
        return False, f"memfd_create: {error.strerror} (a container that forbids it cannot run mrpcd)"
    return True, "sealed shared memory (memfd)"


def root() -> Check:
    if os.geteuid() == 0:
        return True, "root: tests with other users and network namespaces run"
    return None, "not root: tests that need other users or network namespaces are skipped, and counted"


def optional(program: str, package: str, use: str) -> Callable[[], Check]:
    def check() -> Check:
        if shutil.which(program):
            return True, f"{program}: {use}"
        return None, f"no {program}, so without {use} (apt-get install {package})"

    return check


def packaged_data() -> Check:
    if all(os.path.isdir(folder) for folder in ("/usr/share/wordnet", "/usr/share/datasets/fashion-mnist")):
        return True, "WordNet and Fashion-MNIST, data of the vector database"
    return None, "not both of WordNet and Fashion-MNIST, data of the vector database (apt-get install wordnet-base dataset-fashion-mnist)"


CHECKS = [
    kernel, processor, python, venv, headers, compiler, token_libraries, wire_library, simd_library, memory, shared_memory, root,
    optional("ip", "iproute2", "tests and benchmarks over network namespaces"),
    optional("redis-server", "redis-server", "tests of the cluster registry and the hotel's cache on a real Redis"),
    optional("chromium", "chromium", "tests of the page in a real browser"),
    optional("clang++", "clang libclang-rt-14-dev", "make fuzz"),
    packaged_data,
]  # fmt: skip


def main() -> int:
    missing = 0
    for check in CHECKS:
        good, text = check()
        print(f"  {'ok  ' if good else 'FAIL' if good is False else 'skip'}  {text}", flush=True)
        missing += good is False
    if missing:
        print(f"{missing} of these must be mended first; as root, 'make setup' installs the Debian packages", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
