"""C text -> shared object, by the system's C compiler, and a look at what came out."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from mrpc_service.policy.elf import ElfError, read_symbols

CANDIDATES = ["cc", "gcc", "clang"]
FLAGS = [
    "-x", "c", "-std=gnu11", "-O2", "-w", "-fPIC", "-shared", "-ffreestanding", "-nostdlib", "-fno-builtin", "-fvisibility=hidden",
    "-fno-stack-protector", "-fno-math-errno", "-ffp-contract=off", "-fno-strict-aliasing", "-fno-asynchronous-unwind-tables",
    "-fno-tree-loop-distribute-patterns", "-Wl,--no-undefined", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack", "-Wl,--build-id=none",
]
NOT_CLANG = {"-fno-tree-loop-distribute-patterns"}
EXHAUSTED = ("Killed", "out of memory", "Cannot allocate", "MemoryError", "virtual memory exhausted")
EXPORTED = {"mrpc_on_request", "mrpc_on_reply", "mrpc_on_end", "mrpc_upgrade", "mrpc_policy_abi"}


class BuildError(Exception):
    """There is no C compiler, or it refused. One line for the operator."""


def find_compiler() -> list[str]:
    """$CC, which may have arguments, else the first of cc, gcc, clang. BuildError says how to get one."""
    given = shlex.split(os.environ.get("CC", ""))
    if given and shutil.which(given[0]):
        return given
    for name in CANDIDATES:
        if shutil.which(name):
            return [name]
    raise BuildError("no C compiler; policies are compiled through one: apt-get install gcc, or set CC")


def build(text: str, directory: Path) -> bytes:
    """The shared object's content. Scratch files stand in `directory` for as long as it takes. BuildError."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        out = Path(scratch, "program.so")
        command = find_compiler()
        flags = [each for each in FLAGS if not ("clang" in command[0] and each in NOT_CLANG)]
        try:
            done = subprocess.run([*command, *flags, "-o", str(out), "-"], input=text.encode(), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, cwd=scratch, check=False)
        except OSError as error:
            raise BuildError(f"{command[0]}: {error.strerror}") from error
        if done.returncode != 0:
            raise BuildError(explain(command[0], done.returncode, done.stderr.decode(errors="replace")))
        data = out.read_bytes()
    check(data)
    return data


def explain(name: str, code: int, stderr: str) -> str:
    if code < 0 or any(sign in stderr for sign in EXHAUSTED):
        return f"{name} needs more memory or time than a policy is given; make the policy smaller"
    lines = stderr.split("\n")
    first = next((line for line in lines if "error" in line or "undefined" in line), lines[0] or f"exit code {code}")
    return f"{name}: {first[:300]}"


def check(data: bytes) -> None:
    """It must need nothing and nobody, and run nothing when it is loaded."""
    try:
        symbols = read_symbols(data)
    except ElfError as error:
        raise BuildError(f"the C compiler wrote no shared object: {error}") from error
    if symbols.undefined or symbols.needed or symbols.constructors:
        raise BuildError(f"the C compiler's object wants {', '.join(symbols.undefined) or 'other objects'}; use gcc or clang")
    if not set(symbols.defined) <= EXPORTED or "mrpc_policy_abi" not in symbols.defined:
        raise BuildError(f"the C compiler's object exports {', '.join(symbols.defined)}")
