"""README's walk-through does what README says: its blocks are run in order, as written, on a private daemon.

A comment `<!-- walk: KIND -->` stands before each fenced block that counts. Kinds: `shell` (run to its end), `daemon` and
`server` (run beside, ready when they say so), `patch` (applied to the copy), `prints` (what the shell block before it prints).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("apps/*/README.md"), ROOT / "bench" / "LOG.md"])
BLOCK = re.compile(r"^<!-- walk: (\w+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
CLAIM = re.compile(r"^\| `(rpc\.[^`]+)`", re.MULTILINE)
READY = {"daemon": "mrpcd ready", "server": "serving hello.Greeter"}


class Walk:
    """A reader who follows README: one home directory, one daemon, one server at a time."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._home, self._stack, self._cwd = home, stack, ROOT
        self._env = os.environ | {
            "HOME": str(home),
            "MRPC_RUNTIME_DIR": str(home / "run"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._server = stack.enter_context(ExitStack())

    def shell(self, script: str, *, may_fail: bool) -> str:
        """What the script prints; the next one starts in the folder where it ends."""
        where = self._home / "where"
        command = ["bash", "-e", "-c", f"trap 'pwd > {where}' EXIT\n{script}"]
        done = subprocess.run(command, cwd=self._cwd, env=self._env, text=True, stdout=subprocess.PIPE, check=not may_fail)
        self._cwd = Path(where.read_text().strip())
        return done.stdout

    def beside(self, kind: str, script: str) -> None:
        """Runs the script until the walk ends, a server until the next server starts; returns once it is ready."""
        if kind == "server":
            self._server.close()
        (self._server if kind == "server" else self._stack).enter_context(self._running(script, READY[kind]))

    @contextmanager
    def _running(self, script: str, ready: str) -> Iterator[None]:
        *before, last = script.strip().splitlines()
        command = ["bash", "-e", "-c", "\n".join([*before, f"exec {last}"])]
        process = subprocess.Popen(command, cwd=self._cwd, env=self._env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        with process.stdout:
            try:
                assert any(line.startswith(ready) for line in process.stdout), f"{script!r} ended before it said {ready!r}"
                yield
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)

    def patch(self, diff: str) -> None:
        subprocess.run(["git", "apply", "-"], cwd=self._cwd, input=diff, text=True, check=True)


def test_walk_through(tmp_path: Path) -> None:
    blocks = BLOCK.findall(README)
    assert {kind for kind, _ in blocks} == {"shell", "daemon", "server", "patch", "prints"}
    with ExitStack() as stack:
        walk, printed = Walk(tmp_path, stack), ""
        for (kind, text), (following, _) in pairwise([*blocks, ("end", "")]):
            if kind == "shell":
                printed = walk.shell(text, may_fail=following == "prints")
            elif kind in READY:
                walk.beside(kind, text)
            elif kind == "patch":
                walk.patch(text)
            else:
                assert printed == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert broken == []


def test_claims_are_those_of_the_benchmark() -> None:
    from bench.common.report import Report
    from bench.rpc import claims

    listed: list[str] = []
    for name in CLAIM.findall(README):
        group = re.search(r"\{(.*)\}", name)
        listed += [name.replace(group[0], each) for each in group[1].split(",")] if group else [name]
    assert sorted(name for name in listed if name.startswith("rpc.")) == sorted(claim.id for claim in claims.make(Report("rpc", environment={})))
