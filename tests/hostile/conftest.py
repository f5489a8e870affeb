"""A real daemon, a well-behaved neighbour, and processes of other users that attack them."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc as grpc_protoc
from mrpc.protoc import main as mrpc_protoc
from mrpc.testing import Mesh

HERE = Path(__file__).parent
RPC = HERE.parent / "rpc"
ROOT = HERE.parents[1]
CAP_S = 10  # for what a test finds out
NEIGHBOUR_UID, ATTACKER_UID, OTHER_UID = 40001, 40002, 40003

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as other users, which only root can")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Every outcome comes within CAP_S, whatever is attacked; a test of two daemons in turn says `cap_s` itself."""
    if HERE not in item.path.parents:
        return (yield)
    marker = item.get_closest_marker("cap_s")
    seconds = marker.args[0] if marker else CAP_S

    def too_late(*_: object) -> None:
        faulthandler.dump_traceback()
        raise TimeoutError(f"no outcome within {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cap_s(seconds): how soon the test must come to its outcome, where not in 10 s")


# ---- generated code ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="mrpc-hostile-", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def generated(public: Path) -> Path:
    """The folder with echo_mrpc.py."""
    out = public / "generated"
    out.mkdir()
    assert mrpc_protoc(["-I", str(RPC), "--out", str(out), "echo.proto"]) == 0
    return out


@pytest.fixture(scope="session")
def echo(generated: Path) -> Iterator[Any]:
    """The module echo_mrpc."""
    sys.path[:0] = [str(generated), str(RPC)]
    import echo_mrpc

    yield echo_mrpc
    sys.path.remove(str(generated))
    sys.path.remove(str(RPC))


@pytest.fixture(scope="session")
def schema(public: Path) -> bytes:
    """echo.proto as a serialised FileDescriptorSet."""
    out = public / "echo.desc"
    assert grpc_protoc.main(["protoc", f"-I{RPC}", f"--descriptor_set_out={out}", "--include_imports", "echo.proto"]) == 0
    return out.read_bytes()


# ---- daemons -----------------------------------------------------------------------------------------


class Host(Mesh):
    """A daemon in a directory that every user can enter."""

    def cli_command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(self.runtime_dir), *arguments]

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.cli_command(*arguments), capture_output=True, text=True, timeout=CAP_S, cwd=ROOT)

    def ask(self, *arguments: str) -> Any:
        done = self.cli(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return (self.runtime_dir / "mrpcd.log").read_text()

    def rss_bytes(self) -> int:
        """Private memory: pages of shared memory are not counted."""
        facts = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return int(facts["RssAnon"].split()[0]) * 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextlib.contextmanager
def host(public: Path, *arguments: str) -> Iterator[Host]:
    directory = Path(tempfile.mkdtemp(prefix="host-", dir=public))
    directory.chmod(0o755)
    running = Host(directory, arguments)
    running.start()
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def daemon(public: Path) -> Iterator[Host]:
    """The module's daemon."""
    with host(public) as running:
        yield running


@pytest.fixture
def start_host(public: Path) -> Iterator[Callable[..., Host]]:
    """Starts daemons for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(host(public, *arguments))


# ---- neighbours --------------------------------------------------------------------------------------


class Neighbour:
    """neighbour.py as a process of its own."""

    def __init__(self, host: Host, generated: Path, part: str = "both", uid: int = NEIGHBOUR_UID) -> None:
        command = [sys.executable, "-m", "tests.hostile.neighbour", part]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]
        paths = [str(generated), str(RPC), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environ = os.environ | {"MRPC_RUNTIME_DIR": str(host.runtime_dir), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT
        )
        self.said = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def begin(self, calls: int) -> None:
        assert self.process.stdin is not None
        print(calls, file=self.process.stdin, flush=True)

    def outcome(self) -> str:
        """Of the calls begun: "ok", or what went wrong."""
        return self._line()

    def call(self, calls: int = 20) -> str:
        self.begin(calls)
        return self.outcome()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@pytest.fixture
def start_neighbour(generated: Path) -> Iterator[Callable[..., Neighbour]]:
    with contextlib.ExitStack() as stack:

        def start(host: Host, part: str = "both", uid: int = NEIGHBOUR_UID) -> Neighbour:
            started = Neighbour(host, generated, part, uid)
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture(scope="module")
def neighbour(daemon: Host, generated: Path) -> Iterator[Neighbour]:
    """Serves and calls echo.Echo for as long as the module's tests run."""
    started = Neighbour(daemon, generated)
    assert started.said == "ready"
    yield started
    started.close()


@pytest.fixture
def unharmed(daemon: Host, neighbour: Neighbour) -> Iterator[None]:
    """After the test: the same daemon runs, and the neighbour's calls succeed."""
    assert neighbour.call(1) == "ok"
    pid = daemon.pid
    yield
    assert daemon.alive() and daemon.pid == pid, daemon.log()[-3000:]
    assert neighbour.call() == "ok"


# ---- attackers ---------------------------------------------------------------------------------------


class Attacker:
    """`work(link)` in a forked process of another user; `link` is a connection to the test."""

    def __init__(self, work: Callable[[Any], Any], uid: int) -> None:
        self.link, theirs = multiprocessing.connection.Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.link.close()
            self._run(work, theirs, uid)
        theirs.close()

    def _run(self, work: Callable[[Any], Any], link: Any, uid: int) -> None:
        try:
            signal.alarm(CAP_S)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            link.send(("result", work(link)))
        except BaseException:
            link.send(("failed", traceback.format_exc()))
        finally:
            os._exit(0)

    def hear(self) -> Any:
        """What it sent through its link; AssertionError with its traceback when it failed."""
        said = self.link.recv()
        assert not (isinstance(said, tuple) and said[0] == "failed"), said[1]
        return said

    def result(self) -> Any:
        """What `work` returned; the process has ended."""
        kind, value = self.hear()
        assert kind == "result", "it said something else first"
        self.close()
        return value

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        if self.pid:
            self.link.close()
            os.waitpid(self.pid, 0)
            self.pid = 0


@pytest.fixture
def attack() -> Iterator[Callable[..., Attacker]]:
    """Starts attackers: `attack(work, uid=...)`; they are ended after the test."""
    started: list[Attacker] = []

    def start(work: Callable[[Any], Any], uid: int = ATTACKER_UID) -> Attacker:
        started.append(Attacker(work, uid))
        return started[-1]

    yield start
    for attacker in started:
        if attacker.pid:
            attacker.kill()
