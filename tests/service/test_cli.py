"""The CLI against a real daemon: what it prints for programs, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mrpc_service.cli.commands import COMMANDS, cli
from mrpc_service.cli.output import table_lines
from mrpc_service.cli.stat import compare

from .conftest import TIMEOUT_S, Mrpcd, needs_root
from .test_documents import CHAIN

Start = Callable[..., Mrpcd]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(f"Usage: cli {command}")


def test_help_lists_all_commands_and_exit_codes() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"  {command} " in shown for command in COMMANDS)
    assert "Exit codes: 0 done; 1 the check, call or request failed; 2 wrong usage; 3 no mrpcd" in shown


def test_status_names_what_an_operator_looks_for(mrpcd: Mrpcd) -> None:
    status = mrpcd.cli_json("status")
    assert status["pid"] == mrpcd.process.pid
    assert status["socket"] == str(mrpcd.runtime.app_socket)
    assert (status["state"], status["listen"], status["open_calls"]) == ("ready", "", 0)
    assert status["rss_bytes"] > 0 and status["uptime_ns"] > 0


@pytest.mark.parametrize("command", ["apps", "services", "edges", "peers", "app list", "service owners", "stat --interval 0.1"])
def test_lists_of_a_fresh_daemon_are_empty_in_every_format(mrpcd: Mrpcd, command: str) -> None:
    assert mrpcd.cli_json(*command.split()) == []
    assert yaml.safe_load(mrpcd.cli(*command.split(), "-o", "yaml").stdout) == []
    words = mrpcd.cli(*command.split())
    assert words.returncode == 0 and words.stdout.startswith("No ")


def test_an_app_is_registered_listed_and_removed(mrpcd: Mrpcd) -> None:
    made = mrpcd.cli_json("app", "register", "front", "--uid", "1001")
    assert made["token"].startswith("mrpc_")
    assert [(app["name"], app["uid"]) for app in mrpcd.cli_json("app", "list")] == [("front", 1001)]
    again = mrpcd.cli("app", "register", "front", "--uid", "1001")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("mrpc: ALREADY_EXISTS: app 'front' is registered already")
    token = mrpcd.cli("app", "register", "front", "--uid", "1001", "--replace", "--quiet").stdout.strip()
    assert token.startswith("mrpc_") and token != made["token"]
    assert mrpcd.cli_json("app", "remove", "front")["name"] == "front"
    assert mrpcd.cli_json("app", "list") == []


def test_a_user_may_be_named(mrpcd: Mrpcd) -> None:
    mrpcd.cli("app", "register", "front", "--uid", "root")
    assert mrpcd.cli_json("app", "list")[0]["uid"] == 0
    wrong = mrpcd.cli("app", "register", "other", "--uid", "nobody-here")
    assert wrong.returncode == 2 and "'nobody-here' is neither a user of this host nor a uid" in wrong.stderr


def test_a_row_is_one_line_however_wide_and_harmless() -> None:
    lines = table_lines(("name", "count#"), [("x" * 300, 7), ("a\x1b[31m\nb", 1234)])
    assert [line.rstrip()[-6:] for line in lines] == [" count", "     7", "  1234"] and len(lines) == 3
    assert lines[2].startswith("a?[31m b ")


def test_the_log_level_changes_while_the_daemon_runs(mrpcd: Mrpcd) -> None:
    assert mrpcd.cli("log-level").stdout == "info\n"
    assert mrpcd.cli_json("log-level", "debug") == {"level": "debug"}
    assert mrpcd.cli_json("status")["log_level"] == "debug"
    assert mrpcd.cli("log-level", "loud").returncode == 2


def test_logs_can_be_read_and_followed(mrpcd: Mrpcd) -> None:
    lines = [json.loads(line) for line in mrpcd.cli("logs", "-o", "json", "-n", "0").stdout.splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(mrpcd.runtime.path), "logs", "-f", "-n", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        mrpcd.cli("app", "register", "front", "--uid", "7")
        assert "app front registered for uid 7" in follower.stdout.readline()
        follower.terminate()


def test_policies_are_shown_with_their_source(tmp_path: Path, start_mrpcd: Start) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(CHAIN)
    (chain,) = start_mrpcd("--config", str(config)).cli_json("policy", "show")["chains"]
    assert chain["source"] == f"{config}, document 1"
    assert [policy["use"] for policy in chain["policies"]] == ["rate_limit", "access_control"]
    assert chain["policies"][0]["config"] == {"requests_per_second": 500, "burst": 50}


def test_metrics_are_the_same_over_http_and_by_command(start_mrpcd: Start) -> None:
    import socket
    import urllib.request

    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    running = start_mrpcd("--metrics", address)
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as reply:
        over_http = {line.split()[0] for line in reply.read().decode().splitlines() if not line.startswith("#")}
    by_command = {line.split()[0] for line in running.cli("metrics").stdout.splitlines() if not line.startswith("#")}
    assert over_http == by_command >= {"mrpc_uptime_seconds", "mrpc_chain_epoch"}


def test_no_daemon_is_one_line_and_its_own_exit_code(mrpcd: Mrpcd) -> None:
    mrpcd.stop()
    for command in ("status", "stat", "logs", "reload"):
        done = mrpcd.cli(command)
        assert (done.returncode, done.stdout) == (3, "")
        expected = f"mrpc: UNAVAILABLE: no mrpcd at {mrpcd.runtime.path}; start it with 'mrpcd', then 'mrpc check'\n"
        assert done.stderr == expected
    assert mrpcd.cli_json("version")["mrpcd"] == ""


@needs_root
def test_another_user_is_refused_with_its_own_exit_code(start_mrpcd: Start, public_dir: Path) -> None:
    running = start_mrpcd(parent=public_dir)
    command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(running.runtime.path), "status"]
    as_other = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    done = subprocess.run([*as_other, *command], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith("mrpc: PERMISSION_DENIED: control socket in")


def test_a_mistyped_command_gets_a_hint(mrpcd: Mrpcd) -> None:
    done = mrpcd.cli("statsu")
    assert done.returncode == 2
    assert "did you mean 'status'?" in done.stderr


def test_status_is_quick_because_it_imports_little() -> None:
    program = (
        "import sys\n"
        "from mrpc_service.cli.commands import cli\n"
        "try: cli.main(['--runtime-dir', '/nonexistent', 'status'], standalone_mode=False)\n"
        "except Exception: pass\n"
        "print([name for name in ('grpc', 'rich', 'pydantic', 'yaml', 'numpy', 'prometheus_client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stdout == "[]\n", done.stderr


def edge(calls: int, failed: int, counts: list[int]) -> dict[str, object]:
    return {
        "client": "a", "server": "b", "service": "s", "method": "m", "codes": {0: calls - failed, 14: failed}, "denied": failed,
        "in_flight": 0, "latency": {"bounds_ns": [1000, 2000, 4000], "counts": counts},
    }  # fmt: skip


def test_rates_come_from_the_difference_of_two_snapshots() -> None:
    before = {"uptime_ns": 10**9, "edges": [edge(100, 10, [100, 0, 0])]}
    after = {"uptime_ns": 3 * 10**9, "edges": [edge(300, 60, [100, 200, 0])]}
    (rates,) = compare(before, after)
    assert (rates["rps"], rates["success"], rates["denied_per_s"]) == (100, 0.75, 25)
    assert rates["codes"] == {"0": 150, "14": 50}
    assert 1000 < rates["p50_ns"] < 2000
    assert compare(after, after) == []
    assert compare(after, before) == []  # the daemon was started anew


def test_an_edge_that_is_new_counts_from_nothing() -> None:
    (rates,) = compare({"uptime_ns": 0, "edges": []}, {"uptime_ns": 10**9, "edges": [edge(5, 0, [5, 0, 0])]})
    assert (rates["rps"], rates["success"]) == (5, 1.0)
