"""Through a real daemon at a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mrpc
import pytest
from click.testing import CliRunner
from mrpc.protoc import main as protoc

from mrpc_service.load.cli import load_command

TARGET = "mrpc:///loadtest.Echo/Echo"
PROTO = """
syntax = "proto3";
package loadtest;
message Request { string name = 1; repeated int32 numbers = 2; }
service Echo { rpc Echo(Request) returns (Request); rpc Missing(Request) returns (Request); }
"""


class Servicer:
    """Answers with the request, or with a status that its name asks for; remembers what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[int], str | None]] = []
        self._lock = threading.Lock()
        self.running = self.running_peak = 0
        self.fifty_came = threading.Event()

    def Echo(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.running += 1
            self.running_peak = max(self.running_peak, self.running)
            self.seen.append((request.name, list(request.numbers), dict(context.invocation_metadata()).get("x-run")))
            if len(self.seen) == 50:
                self.fifty_came.set()
        try:
            if request.name == "mallory":
                context.abort(mrpc.StatusCode.PERMISSION_DENIED, "not you")
            return request
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture(scope="module")
def proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proto") / "loadtest.proto"
    path.write_text(PROTO)
    return path


@pytest.fixture
def servicer(daemon: Any, proto: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servicer]:
    """Behind a running server."""
    assert protoc(["-I", str(proto.parent), "--out", str(proto.parent), proto.name]) == 0
    monkeypatch.syspath_prepend(str(proto.parent))
    import loadtest_mrpc

    servicer = Servicer()
    with mrpc.server(ThreadPoolExecutor(4)) as server:
        loadtest_mrpc.add_EchoServicer_to_server(servicer, server)
        server.start()
        yield servicer


def load(proto: Path, *arguments: str, target: str = TARGET) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(load_command, [target, "--proto", str(proto), *arguments, "--warmup", "0", "-o", "json"])
    assert result.stdout, result.output
    return result.exit_code, json.loads(result.stdout)


def test_open_loop_sends_every_call_and_carries_the_request(servicer: Servicer, proto: Path) -> None:
    code, report = load(proto, "--rate", "1000", "--count", "200", "--data", '[{"name": "a", "numbers": [1, 2]}, {"name": "b"}]',
                        "--metadata", "x-run: seven")
    assert (code, report["loop"], report["count"]) == (0, "open", 200)
    assert report["statusCodeDistribution"] == {"OK": 200}
    assert len(servicer.seen) == 200
    assert {(name, tuple(numbers), run) for name, numbers, run in servicer.seen} == {("a", (1, 2), "seven"), ("b", (), "seven")}
    assert report["uncorrected"]["count"] == 200 and report["generator_cpu_seconds"] > 0


def test_the_daemon_knows_the_schema_of_what_is_on_offer(servicer: Servicer) -> None:
    result = CliRunner().invoke(load_command, [TARGET, "--closed", "1", "--count", "5", "--warmup", "0", "--data", '{"name": "ann"}'])
    assert result.exit_code == 0 and [name for name, _, _ in servicer.seen] == ["ann"] * 5


def test_closed_loop_keeps_so_many_in_flight_and_says_so(servicer: Servicer, proto: Path) -> None:
    code, report = load(proto, "--closed", "3", "--count", "300", "--data", "{}")
    assert (code, report["loop"]) == (0, "closed")
    assert report["statusCodeDistribution"] == {"OK": 300} and len(servicer.seen) == 300
    assert 1 <= servicer.running_peak <= 3


def test_statuses_are_told_apart(servicer: Servicer, proto: Path) -> None:
    code, report = load(proto, "--rate", "1000", "--count", "40", "--data", '[{"name": "ann"}, {"name": "mallory"}]')
    assert code == 1
    denied = sum(name == "mallory" for name, _, _ in servicer.seen)  # requests are drawn by chance
    assert report["statusCodeDistribution"] == {"OK": 40 - denied, "PermissionDenied": denied}
    assert report["errorDistribution"] == {"not you": denied} and 0 < denied < 40
    code, report = load(proto, "--closed", "1", "--count", "5", "--data", "{}", target="mrpc:///loadtest.Echo/Missing")
    assert code == 1
    assert report["statusCodeDistribution"] == {"Unimplemented": 5}


def test_a_daemon_that_dies_in_mid_run_costs_calls_not_the_run(daemon: Any, servicer: Servicer, proto: Path) -> None:
    killer = threading.Thread(target=lambda: servicer.fifty_came.wait() and daemon.kill())
    killer.start()
    _, report = load(proto, "--rate", "1000", "--count", "400", "--data", "{}")
    killer.join()
    daemon.start()
    counts = report["statusCodeDistribution"]
    assert report["count"] == 400 == sum(counts.values())
    assert counts["OK"] >= 40 and counts["Unavailable"] > 0
