"""Minutes of everything at once against one daemon, then an account: `python -m tests.soak [--minutes 10 | --seconds 20]`.

The time is divided into rounds. In a round, servers and clients (sync and aio, small and large messages, denials, deadlines,
cancellations) run beside a server and a client that are killed with SIGKILL and started again, while policy chains are replaced
by SIGHUP. When a round ends and all applications have gone, the daemon must be where it was after the first; verdict.py says what
else must hold. The exit code is 1 if something does not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGHUP

from mrpc import protoc, testing
from rich.console import Console
from rich.table import Table

from mrpc_service.control.client import ControlClient
from mrpc_service.runtime_dir import RuntimeDir
from mrpc_service.status_codes import code_name
from tests.soak.verdict import MIB, Account, Check, Reading, judge

ROOT = Path(__file__).parents[2]
END_TIMEOUT_S = 120  # for what must end by itself: an application whose input has ended, an attachment of a dead one
EVENT_EVERY_S = 1.0
LOG_TAIL = 8000
APPS = ("steady", "mortal", "server")
CHAIN = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {{name: {name}}}
spec:
  selector: {{service: echo.Echo}}
  policies:
    - {{name: guard, use: access_control, config: {{field: text, deny: [forbidden]}}}}
    - {{name: limit, use: rate_limit, config: {{requests_per_second: 1000000, burst: {burst}}}}}
"""


class Soak:
    """One daemon, and the applications that come and go."""

    def __init__(self, mesh: testing.Mesh, control: ControlClient, config: Path, generated: str) -> None:
        self._mesh, self._control, self._config = mesh, control, config
        self._path = os.pathsep.join([generated, str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._tokens = {app: control.call("RegisterApp", name=app, uid=os.geteuid()).token for app in APPS}
        self._seeds = itertools.count(1)
        self._reloads = itertools.count(1)
        self.events: Counter[str] = Counter()
        self.tally: Counter[str] = Counter()

    def round(self, seconds: float) -> Reading:
        """Load for so long, then what is left of it in the daemon."""
        end = time.monotonic() + seconds
        with ExitStack() as stack:
            servers = [stack.enter_context(self.start("server", "server", flavour)) for flavour in ("sync", "aio")]
            for server in servers:
                assert server.stdout is not None and server.stdout.readline() == "ready\n", "a server did not come up"
            clients = [stack.enter_context(self.start("client", "steady", flavour)) for flavour in ("sync", "sync", "aio")]
            self.disturb(end)
            for client in clients:
                self.tally += Counter(json.loads(finish(client)))
            for server in servers:
                finish(server)
        return self.read()

    def disturb(self, end: float) -> None:
        """Kills, new starts and reloads, in turn, until `end`."""
        with ExitStack() as stack:
            kinds = [("server", "server"), ("client", "mortal")]
            mortals = [stack.enter_context(self.start(*kind, "sync")) for kind in kinds]
            for turn in itertools.count():
                left = end - time.monotonic()
                if left <= 0:
                    return
                time.sleep(min(left, EVENT_EVERY_S))
                self.check_daemon()
                self.reload()
                which = turn % len(mortals)
                mortals[which].kill()
                self.events[f"{kinds[which][0]}s killed"] += 1
                mortals[which] = stack.enter_context(self.start(*kinds[which], "aio" if turn % 4 < 2 else "sync"))

    def check_daemon(self) -> None:
        ended = os.waitid(os.P_PID, self._mesh.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            log = (self._mesh.runtime_dir / "mrpcd.log").read_text()[-LOG_TAIL:]
            raise RuntimeError(f"mrpcd ended (status {ended.si_status}); the end of its log:\n{log}")

    @contextmanager
    def start(self, program: str, app: str, flavour: str) -> Iterator[subprocess.Popen[str]]:
        """A process of server.py or client.py; whatever happens, it does not outlive the soak."""
        command = [sys.executable, "-m", f"tests.soak.{program}", flavour, str(next(self._seeds))]
        environment = os.environ | {"MRPC_TOKEN": self._tokens[app], "PYTHONPATH": self._path}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def reload(self) -> None:
        number = next(self._reloads)
        self._config.write_text(CHAIN.format(name="odd" if number % 2 else "even", burst=100_000 + number))
        os.kill(self._mesh.pid, SIGHUP)
        self.events["reloads"] += 1

    def read(self) -> Reading:
        """Once the daemon has told all deaths."""
        deadline = time.monotonic() + END_TIMEOUT_S
        while (status := self._control.call("GetStatus")).attachments and time.monotonic() < deadline:
            time.sleep(0.05)
        fds = len(os.listdir(f"/proc/{self._mesh.pid}/fd"))
        return Reading(status.rss_bytes, status.shared_memory_bytes, fds, status.open_calls)

    def account(self, app: str) -> Account:
        edges = [edge for edge in self._control.call("GetSnapshot").edges if edge.client == app]
        ended: Counter[str] = Counter()
        for edge in edges:
            ended.update({code_name(code): count for code, count in edge.codes.items()})
        return Account(sum(edge.calls for edge in edges), ended, sum(edge.in_flight for edge in edges))

    def applied(self) -> Check:
        """The epoch begins at 1 and rises by one with each reload that was taken."""
        status = self._control.call("GetStatus")
        taken = status.epoch - 1
        return Check("policy reloads", not status.config_error and taken == self.events["reloads"], f"{self.events['reloads']} = {taken}")


def finish(process: subprocess.Popen[str]) -> str:
    """Ends the process's input; what it said last. It must end well."""
    output, _ = process.communicate(timeout=END_TIMEOUT_S)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args} ended with {process.returncode}")
    return output


def soak(seconds: float, rounds: int) -> list[Check]:
    console = Console()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        protoc.main(["-I", str(ROOT / "tests" / "rpc"), "--out", directory, "echo.proto"])
        config = Path(directory, "chains.yaml")
        config.write_text(CHAIN.format(name="even", burst=100_000))
        mesh = stack.enter_context(testing.mesh("--config", str(config), "--log-level", "warning"))
        control = stack.enter_context(ControlClient(RuntimeDir(mesh.runtime_dir)))
        running = Soak(mesh, control, config, directory)
        readings = []
        for number in range(rounds):
            readings.append(running.round(seconds / rounds))
            console.print(f"round {number + 1} of {rounds}: {running.tally['sent']} calls", *describe(readings[-1]), sep=", ")
        checks = judge(running.tally, running.account("steady"), running.account("mortal"), readings) + [running.applied()]
        console.print(", ".join(f"{count} {name}" for name, count in running.events.items()))
        console.print(", ".join(f"{name} {count}" for name, count in sorted(running.tally.items())))
    console.print(table(checks))
    return checks


def describe(reading: Reading) -> list[str]:
    return [
        f"rss {reading.rss_bytes / MIB:.1f} MiB", f"shm {reading.shm_bytes / MIB:.1f} MiB", f"{reading.fds} descriptors",
        f"{reading.open_calls} open",
    ]  # fmt: skip


def table(checks: list[Check]) -> Table:
    table = Table("check", "held", "figures")
    for check in checks:
        table.add_row(check.name, "yes" if check.held else "[red]NO[/red]", check.detail)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A soak of one daemon; exit code 1 if a check fails.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seconds", type=float, help="instead of --minutes")
    parser.add_argument("--rounds", type=int, help="default: one a minute, at least 3")
    flags = parser.parse_args()
    seconds = flags.seconds or flags.minutes * 60
    checks = soak(seconds, flags.rounds or max(3, round(seconds / 60)))
    return 0 if all(check.held for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
