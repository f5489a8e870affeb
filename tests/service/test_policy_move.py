"""A policy moves between the two daemons of calls that do not pause. The policy marks each call that it judges, and counts it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import TIMEOUT_S, Mrpcd
from .test_applications import GREET, eventually, greeter
from .test_policy_apply import write

Start = Callable[..., Mrpcd]
COUNT = '''\
"""Counts the calls that it judges, marks each, and tells the count."""
from mrpc_service.policy import ABORTED, Policy, deny, state


class Count(Policy):
    judged: int = state(per="global")

    def on_request(self, call, request):
        if request.name == "sum":
            return deny(ABORTED, f"judged {self.judged}")
        self.judged += 1
        request.name = request.name + "!"
'''
ONCE, NEVER, TWICE = "hello ann!", "hello ann", "hello ann!!"


def document(side: str, more: str = "") -> str:
    return ("apiVersion: mrpc/v1alpha1\nkind: PolicyChain\nmetadata: {name: count}\n"
            f"spec:\n  selector: {{service: test.Greeter}}\n  side: {side}\n{more}  policies:\n    - {{name: count, use: ./count.py}}\n")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    write(tmp_path / "count.py", COUNT)
    return write(tmp_path / "count.yaml", document("client"))


@pytest.fixture
def daemons(start_mrpcd: Start) -> tuple[Mrpcd, Mrpcd]:
    """The callers' and the endpoints'."""
    endpoints = start_mrpcd("--node", "b", "--listen", "127.0.0.1:0", "--insecure", name="b")
    address = endpoints.cli_json("status")["listen"]
    return start_mrpcd("--node", "a", "--peer", address, name="a"), endpoints


@contextlib.contextmanager
def steady_calls(mrpcd: Mrpcd, threads: int = 4) -> Iterator[Callable[[], int]]:
    """Calls that go on and on; gives a function that waits until there are more of them. At the end, none may have failed."""
    command = [sys.executable, "-m", "tests.service.steady_caller", str(threads)]
    root = Path(__file__).parents[2]
    environ = os.environ | {"MRPC_RUNTIME_DIR": str(mrpcd.runtime.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=root) as process:
        assert process.stdin is not None and process.stdout is not None

        def more() -> int:
            process.stdin.write("more\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield more
        process.stdin.close()
        more.replies = json.loads(process.stdout.read())
        process.wait(TIMEOUT_S)


def judged(mrpcd: Mrpcd) -> int:
    """How many calls the chain `count` has judged, on this daemon, which must be the one that judges its callers' calls now."""
    return int(mrpcd.cli("call", GREET, '{"name": "sum"}').stderr.rpartition("judged ")[2])


def move(daemons: tuple[Mrpcd, Mrpcd], side: str) -> Any:
    callers, endpoints = daemons
    return callers.cli_json("policy", "move", "count", "--to", side, "--peer", str(endpoints.runtime.path))


def wait_offered(callers: Mrpcd) -> None:
    eventually(lambda: callers.cli("call", GREET, '{"name": "x"}').returncode == 0)


def test_each_call_is_judged_once_while_a_policy_moves_there_and_back(daemons: tuple[Mrpcd, Mrpcd], chain: Path) -> None:
    callers, endpoints = daemons
    with greeter(endpoints):
        wait_offered(callers)
        callers.cli_json("policy", "apply", str(chain))
        with steady_calls(callers) as more:
            more()
            for side in ("server", "client", "server", "client"):
                assert move(daemons, side)["callers"]["changes"] == ["~count"]
                more()
        assert list(more.replies) == [ONCE], more.replies
        assert judged(callers) == more.replies[ONCE]  # what was counted at either end came along
        assert 0 < judged(endpoints) < more.replies[ONCE]


def test_a_policy_that_only_the_servers_side_had_moves_to_the_callers(daemons: tuple[Mrpcd, Mrpcd], chain: Path) -> None:
    callers, endpoints = daemons
    with greeter(endpoints):
        wait_offered(callers)
        endpoints.cli_json("policy", "apply", str(write(chain, document("server"))))
        with steady_calls(callers) as more:
            more()
            move(daemons, "client")
            more()
        assert list(more.replies) == [ONCE], more.replies
        assert judged(callers) > 0


def test_a_callers_tokens_go_along_and_come_back(daemons: tuple[Mrpcd, Mrpcd], tmp_path: Path) -> None:
    callers, endpoints = daemons
    write(tmp_path / "bucket.py", (Path(__file__).parents[2] / "policies" / "rate_limit.py").read_text())
    limit = document("client").replace("use: ./count.py", "use: ./bucket.py, config: {requests_per_second: 0.001, burst: 6}")
    with greeter(endpoints):
        wait_offered(callers)
        callers.cli_json("policy", "apply", str(write(tmp_path / "limit.yaml", limit)))

        def passed() -> int:
            return [callers.cli("call", GREET, '{"name": "x"}').returncode for _ in range(2)].count(0)

        assert passed() == 2
        assert move(daemons, "server")["rows"] == 1
        assert passed() == 2
        assert move(daemons, "client")["rows"] == 1
        assert (passed(), passed()) == (2, 0)


def test_only_peers_that_an_operator_names_are_believed(daemons: tuple[Mrpcd, Mrpcd], chain: Path) -> None:
    callers, endpoints = daemons
    with greeter(endpoints):
        wait_offered(callers)
        callers.cli_json("policy", "apply", str(chain))
        endpoints.cli_json("policy", "apply", str(write(chain, document("server", "  judged_by: [c]\n"))))
        called = callers.cli_json("call", GREET, '{"name": "ann"}')
        assert called["reply"]["text"] == TWICE
        # An application's own word for it is removed by its daemon, whose chain no longer judges.
        callers.cli_json("policy", "delete", "count")
        endpoints.cli_json("policy", "apply", str(write(chain, document("server", "  judged_by: [a]\n"))))
        called = callers.cli_json("call", GREET, '{"name": "ann"}', "--metadata", "mrpc-judged:count")
        assert called["reply"]["text"] == ONCE


def test_what_cannot_be_moved_is_told_and_changes_nothing(daemons: tuple[Mrpcd, Mrpcd], chain: Path) -> None:
    callers, endpoints = daemons
    arguments = ("policy", "move", "count", "--to", "server", "--peer", str(endpoints.runtime.path))
    assert "neither 'a' nor 'b' has a chain 'count'" in callers.cli(*arguments).stderr
    callers.cli_json("policy", "apply", str(write(chain, document("any"))))
    assert "side any" in callers.cli(*arguments).stderr
    callers.cli_json("policy", "apply", str(write(chain, document("client"))))
    before = endpoints.cli_json("policy", "show")
    itself = callers.cli("policy", "move", "count", "--to", "server", "--peer", str(callers.runtime.path))
    assert itself.returncode == 1 and "name the endpoints' daemon" in itself.stderr
    refused = callers.cli("policy", "move", "count", "--to", "server", "--peer", str(endpoints.runtime.path / "nowhere"))
    assert refused.returncode == 3 and "no mrpcd" in refused.stderr
    write(chain.parent / "other.py", COUNT.replace('"!"', '"?"'))
    other = document("server").replace("./count.py", "./other.py")
    endpoints.cli_json("policy", "apply", str(write(chain, other)))
    assert "different chains" in callers.cli(*arguments).stderr
    assert before["chains"] == [] and callers.cli_json("policy", "show")["chains"][0]["side"] == "client"
