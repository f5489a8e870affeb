"""A daemon's life: start, refuse to start, reload, drain."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mrpc_service import daemon

from .conftest import TIMEOUT_S, Mrpcd, daemon_command, needs_root, run_daemon
from .test_documents import CHAIN

Start = Callable[..., Mrpcd]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a daemon that refused to start said: one line, nothing else, exit code 1."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("mrpcd: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    return lines[0]


def test_it_starts_with_no_configuration_and_says_so(mrpcd: Mrpcd) -> None:
    assert mrpcd.ready_line == f"mrpcd ready at {mrpcd.runtime.path} (pid {mrpcd.process.pid})\n"
    assert mode(mrpcd.runtime.path) == 0o755
    assert mode(mrpcd.runtime.app_socket) == 0o666
    assert mode(mrpcd.runtime.operator_dir) == 0o700
    assert mode(mrpcd.runtime.control_socket) == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_it_and_leaves_no_socket(mrpcd: Mrpcd, number: int) -> None:
    assert mrpcd.stop(number) == 0
    assert "draining" in mrpcd.stderr_path.read_text()
    assert not mrpcd.runtime.app_socket.exists()
    assert not mrpcd.runtime.control_socket.exists()


def test_a_second_daemon_names_the_first_and_leaves_it_alone(mrpcd: Mrpcd) -> None:
    line = one_line(run_daemon(mrpcd.runtime.path))
    assert f"another mrpcd (pid {mrpcd.process.pid}) already serves {mrpcd.runtime.path}" in line
    assert mrpcd.cli_json("status")["state"] == "ready"


def test_what_a_killed_daemon_left_is_recovered(start_mrpcd: Start) -> None:
    first = start_mrpcd()
    first.stop(signal.SIGKILL)
    assert first.runtime.app_socket.is_socket()
    second = start_mrpcd()
    assert second.wait_log("left by a daemon that died")
    assert second.cli_json("status")["pid"] == second.process.pid


def test_something_else_in_the_place_of_the_socket_is_not_touched(tmp_path: Path) -> None:
    directory = tmp_path / "mrpc"
    directory.mkdir()
    (directory / "app.sock").write_text("precious")
    assert "is in the way and is not a socket" in one_line(run_daemon(directory))
    assert (directory / "app.sock").read_text() == "precious"


@needs_root
def test_a_directory_that_cannot_be_written_is_told(public_dir: Path) -> None:
    command = daemon_command(public_dir / "mrpc")
    done = subprocess.run(
        ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *command],
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert "cannot use directory" in one_line(done)


def test_a_full_disk_keeps_it_from_starting_and_is_told(tmp_path: Path) -> None:
    done = subprocess.run(["prlimit", "--fsize=0", *daemon_command(tmp_path / "mrpc")], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert f"cannot write {tmp_path}/mrpc/daemon.pid" in one_line(done)


def test_an_old_kernel_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    uname = os.uname()
    old = os.uname_result((uname.sysname, uname.nodename, "5.15.0", uname.version, uname.machine))
    monkeypatch.setattr(os, "uname", lambda: old)
    assert daemon.main(["--runtime-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "mrpcd: Linux 5.15.0 is too old: mrpcd needs 6.5 or later (SO_PEERPIDFD); boot a newer kernel\n"
    )


def test_plaintext_must_be_asked_for(tmp_path: Path, start_mrpcd: Start) -> None:
    refused = one_line(run_daemon(tmp_path / "a", "--listen", "127.0.0.1:0"))
    assert "--listen needs --insecure" in refused
    status = start_mrpcd("--listen", "127.0.0.1:0", "--insecure").cli_json("status")
    assert status["insecure"] is True
    assert status["listen"].startswith("127.0.0.1:") and not status["listen"].endswith(":0")


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen at {address}" in one_line(run_daemon(tmp_path / "a", "--listen", address, "--insecure"))
        assert f"cannot serve metrics on {address}" in one_line(run_daemon(tmp_path / "b", "--metrics", address))


def test_a_wrong_configuration_keeps_it_from_starting(tmp_path: Path) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(CHAIN.replace("burst", "brust"))
    line = one_line(run_daemon(tmp_path / "mrpc", "--config", str(config)))
    assert f"{config}, document 1, spec.policies[0].config.brust: unknown field; did you mean 'burst'?" in line


def test_sighup_reads_the_configuration_again_and_a_wrong_one_changes_nothing(tmp_path: Path, start_mrpcd: Start) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(CHAIN)
    running = start_mrpcd("--config", str(config))
    before = running.cli_json("policy", "show")
    assert [chain["name"] for chain in before["chains"]] == ["guard"]

    config.write_text(CHAIN.replace("burst", "brust"))
    running.process.send_signal(signal.SIGHUP)
    assert "did you mean 'burst'?" in running.wait_log("configuration refused, what ran runs on")
    assert running.cli_json("policy", "show") == before
    assert "brust" in running.cli_json("status")["config_error"]

    config.write_text(CHAIN.replace("guard", "other"))
    running.process.send_signal(signal.SIGHUP)
    running.wait_log(f"epoch {before['epoch'] + 1}")
    assert [chain["name"] for chain in running.cli_json("policy", "show")["chains"]] == ["other"]
    assert running.cli_json("status")["config_error"] == ""
    assert [record["cause"] for record in running.cli_json("policy", "history")] == ["SIGHUP", "start"]


def test_reload_takes_live_settings_and_names_those_that_must_wait(tmp_path: Path, start_mrpcd: Start) -> None:
    config = tmp_path / "daemon.yaml"
    document = "apiVersion: mrpc/v1alpha1\nkind: Daemon\nspec: {log_level: %s, node: %s}\n"
    config.write_text(document % ("info", "a"))
    running = start_mrpcd("--config", str(config))
    config.write_text(document % ("warning", "b"))
    assert running.cli_json("reload")["warnings"] == ["node: the change takes effect when mrpcd starts again"]
    status = running.cli_json("status")
    assert (status["log_level"], status["node"]) == ("warning", "a")


def test_a_missing_data_plane_is_told(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['mrpc_service._dataplane'] = None\n"
        "from mrpc_service.daemon import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "--runtime-dir", str(tmp_path / "mrpc")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert "the native data plane cannot be loaded" in one_line(done)


def test_systemd_is_told_of_every_step(tmp_path: Path, start_mrpcd: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(TIMEOUT_S)
        running = start_mrpcd()
        assert manager.recv(4096).decode().splitlines() == ["READY=1", f"MAINPID={running.process.pid}"]
        assert running.stop() == 0
        assert manager.recv(4096) == b"STOPPING=1"


def test_it_stays_small(mrpcd: Mrpcd) -> None:
    assert mrpcd.cli_json("status")["rss_bytes"] < 150 << 20
