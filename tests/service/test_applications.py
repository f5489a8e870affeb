"""The control plane with real applications: calls by the CLI, denials, names, owners, and what `mrpc check` finds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import TIMEOUT_S, Mrpcd, needs_root

Start = Callable[..., Mrpcd]
GREET = "test.Greeter/Greet"
DENY = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {name: guard}
spec:
  selector: {service: test.Greeter}
  policies:
    - {name: no-mallory, use: access_control, config: {field: name, deny: [mallory]}}
"""


@contextlib.contextmanager
def greeter(mrpcd: Mrpcd, *, uid: int | None = None, token: str = "") -> Iterator[str]:
    """A greeter in a process of its own, as this or another user; gives the first line that it printed."""
    command = [sys.executable, "-m", "tests.service.greeter"]
    if uid is not None:
        command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]
    root = Path(__file__).parents[2]
    environ = os.environ | {"MRPC_RUNTIME_DIR": str(mrpcd.runtime.path), "MRPC_TOKEN": token}
    environ["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [environ.get("PYTHONPATH")])])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=root) as process:
        assert process.stdin is not None and process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(TIMEOUT_S)


def eventually(holds: Callable[[], bool]) -> None:
    """Ask again and again; each question is a run of the CLI, so there is no need to sleep."""
    assert any(holds() for _ in range(100))


def test_a_call_goes_from_json_to_json(mrpcd: Mrpcd) -> None:
    with greeter(mrpcd) as said:
        assert said == "serving"
        done = mrpcd.cli("call", GREET, '{"name": "ann", "times": 2, "tags": ["x", "y"]}', "--metadata", "x-mood:fine")
        assert done.returncode == 0, done.stderr
        answer = mrpcd.cli_json("call", GREET, '{"name": "ann", "times": 2, "tags": ["x", "y"]}', "-m", "x-mood:fine")
        assert answer["code"] == "OK"
        assert answer["reply"]["text"] == "hello ann hello ann x y"
        assert answer["reply"]["caller"].endswith("fine")


def test_a_request_can_come_from_standard_input(mrpcd: Mrpcd) -> None:
    with greeter(mrpcd):
        command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(mrpcd.runtime.path), "call", GREET, "-"]
        done = subprocess.run(command, input='{"name": "bob"}', capture_output=True, text=True, timeout=TIMEOUT_S)
        assert '"text": "hello bob"' in done.stdout, done.stderr


def test_a_status_is_printed_with_its_trailing_metadata(mrpcd: Mrpcd) -> None:
    with greeter(mrpcd):
        done = mrpcd.cli("call", GREET, '{"name": "nobody"}')
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines() == ["NOT_FOUND: nobody is here", "  hint: give a name"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["test.Greeter/Greed", "{}"], 1, "did you mean 'Greet'?"),
        (["test.Absent/Greet", "{}"], 1, "NOT_FOUND: no endpoint offers 'test.Absent' now"),
        (["Greet", "{}"], 2, "is not SERVICE/METHOD"),
        ([GREET, "{"], 2, "the request is no test.Greeter/Greet request"),
        ([GREET, '{"nome": 1}'], 2, "nome"),
        ([GREET, "{}", "--metadata", "novalue"], 2, "is not KEY:VALUE"),
        ([GREET, "{}", "--metadata", "k-bin:%%"], 2, "base64"),
        (["test.Greeter/Watch", "{}"], 1, "is a streaming method"),
    ],
)
def test_what_cannot_be_called_is_told(mrpcd: Mrpcd, arguments: list[str], exit_code: int, text: str) -> None:
    with greeter(mrpcd):
        done = mrpcd.cli("call", *arguments)
        assert (done.returncode, done.stdout) == (exit_code, ""), done.stderr
        assert text in done.stderr


def test_a_denial_names_chain_policy_and_reason_and_is_counted(tmp_path: Path, start_mrpcd: Start) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(DENY)
    running = start_mrpcd("--config", str(config))
    with greeter(running):
        assert running.cli("call", GREET, '{"name": "ann"}').returncode == 0
        denied = running.cli("call", GREET, '{"name": "mallory"}')
        assert denied.returncode == 1
        assert denied.stderr.startswith("PERMISSION_DENIED: ")
        assert "guard" in denied.stderr and "no-mallory" in denied.stderr
        edges = [edge for edge in running.cli_json("edges") if edge["service"] == "test.Greeter"]
        assert sum(edge["denied"] for edge in edges) == 1
        assert sum(edge["codes"].get("0", 0) for edge in edges) == 1
        metrics = running.cli("metrics").stdout
        assert 'mrpc_policy_denied_total{chain="guard",policy="no-mallory"} 1.0' in metrics
        assert 'mrpc_policy_evaluations_total{chain="guard",policy="no-mallory"} 2.0' in metrics
        running.cli_json("stat", "--interval", "0.1")


def test_a_policy_that_does_not_fit_the_schema_on_offer_changes_nothing(tmp_path: Path, start_mrpcd: Start) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(DENY)
    running = start_mrpcd("--config", str(config))
    with greeter(running):
        config.write_text(DENY.replace("field: name", "field: surname"))
        refused = running.cli("reload")
        assert refused.returncode == 1
        assert "surname" in refused.stderr and "guard" in refused.stderr
        assert running.cli("call", GREET, '{"name": "mallory"}').returncode == 1


def test_services_and_apps_show_who_serves(mrpcd: Mrpcd) -> None:
    with greeter(mrpcd):
        (service,) = mrpcd.cli_json("services")
        assert (service["service"], service["methods"]) == ("test.Greeter", ["Greet", "Watch"])
        (app,) = mrpcd.cli_json("apps")
        me = f"uid:{os.geteuid()}"
        assert (app["app"], app["principal"], app["role"], app["label"]) == (me, me, "server", "greeter")


def test_a_token_gives_an_application_its_name(mrpcd: Mrpcd) -> None:
    token = mrpcd.cli_json("app", "register", "front-desk", "--uid", str(os.geteuid()))["token"]
    with greeter(mrpcd, token=token):
        (app,) = mrpcd.cli_json("apps")
        assert (app["app"], app["principal"]) == ("front-desk", f"uid:{os.geteuid()}")


@needs_root
def test_a_service_name_stays_with_the_principal_that_had_it_first(start_mrpcd: Start, public_dir: Path) -> None:
    running = start_mrpcd(parent=public_dir)
    with greeter(running) as said:
        assert said == "serving"
    running.wait_log("offered")
    assert [owner["principal"] for owner in running.cli_json("service", "owners")] == ["uid:0"]
    running.stop()

    again = start_mrpcd(parent=public_dir)
    with greeter(again, uid=12345) as said:
        assert said.startswith("PERMISSION_DENIED:"), said
    assert again.cli_json("service", "release", "test.Greeter")["principal"] == "uid:0"
    with greeter(again, uid=12345) as said:
        assert said == "serving"


def test_check_passes_on_a_sound_host_and_makes_a_round_trip(mrpcd: Mrpcd) -> None:
    found = {finding["test"]: finding for finding in mrpcd.cli_json("check")}
    assert [name for name, finding in found.items() if finding["result"] == "FAIL"] == []
    assert found["round trip"]["result"] == "PASS"
    assert found["listener"]["result"] == "PASS"
    assert list(found)[:3] == ["Python", "kernel", "sealed memory"]


def test_check_warns_of_plaintext(start_mrpcd: Start) -> None:
    running = start_mrpcd("--listen", "127.0.0.1:0", "--insecure")
    found = {finding["test"]: finding for finding in running.cli_json("check")}
    assert found["listener"]["result"] == "WARN"
    assert "plaintext" in found["listener"]["text"] and found["listener"]["mend"]


def test_check_warns_of_applications_that_share_one_identity(mrpcd: Mrpcd, monkeypatch: pytest.MonkeyPatch) -> None:
    with greeter(mrpcd):
        monkeypatch.setenv("MRPC_LABEL", "another")
        program = "import mrpc; c = mrpc.channel('mrpc:///x'); c._connect(); print(1, flush=True); input()"
        command = [sys.executable, "-c", program]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"MRPC_RUNTIME_DIR": str(mrpcd.runtime.path)},
        ) as other:  # fmt: skip
            assert other.stdin is not None and other.stdout is not None
            other.stdout.readline()
            found = {finding["test"]: finding for finding in mrpcd.cli_json("check")}
            other.stdin.close()
    assert found["identities"]["result"] == "WARN"
    assert f"another, greeter are all uid:{os.geteuid()}" in found["identities"]["text"]


def test_check_without_a_daemon_says_how_to_start_one(mrpcd: Mrpcd) -> None:
    mrpcd.stop()
    done = mrpcd.cli("check")
    assert done.returncode == 1
    assert "start it with 'mrpcd'" in done.stdout
    assert mrpcd.cli("check", "--host-only").returncode == 0


@pytest.mark.parametrize("registry", ["static", "sqlite"])
def test_two_daemons_find_each_others_services(start_mrpcd: Start, tmp_path: Path, registry: str) -> None:
    listen = ["--listen", "127.0.0.1:0", "--insecure"]
    if registry == "static":
        a = start_mrpcd("--node", "a", *listen, name="a")
        b = start_mrpcd("--node", "b", "--peer", a.cli_json("status")["listen"], name="b")
    else:
        url = f"sqlite://{tmp_path}/nodes.db"
        a = start_mrpcd("--node", "a", *listen, "--registry", url, name="a")
        b = start_mrpcd("--node", "b", "--registry", url, name="b")
    with greeter(a):
        eventually(lambda: any(service["service"] == "test.Greeter" for service in b.cli_json("services")))
        answer = b.cli_json("call", GREET, '{"name": "far"}')
        assert answer["reply"]["text"] == "hello far"
