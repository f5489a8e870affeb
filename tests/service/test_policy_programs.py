"""Programs in chains, with a real daemon, a real compiler and real calls."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Mrpcd
from .test_applications import GREET, eventually, greeter
from .test_policy_apply import names, refused, write

Start = Callable[..., Mrpcd]

LIMIT = '''\
"""So many calls of each client, ever."""
from mrpc_service.policy import RESOURCE_EXHAUSTED, Policy, deny, state


class Limit(Policy):
    most: int = 3

    used: int = state(per="client")

    def on_request(self, call, request):
        if request.name == "free":
            return
        self.used += 1
        if self.used > self.most:
            return deny(RESOURCE_EXHAUSTED, f"more than {self.most} calls")
'''
DENY_ALL = '''\
from mrpc_service.policy import PERMISSION_DENIED, Policy, deny


class Nobody(Policy):
    def on_request(self, call, request):
        return deny(PERMISSION_DENIED, "closed")
'''


def document(use: str, config: str = "{}", name: str = "limits") -> str:
    return (f"apiVersion: mrpc/v1alpha1\nkind: PolicyChain\nmetadata: {{name: {name}}}\n"
            f"spec:\n  selector: {{service: test.Greeter}}\n  policies:\n    - {{name: limit, use: {use}, config: {config}}}\n")


@pytest.fixture
def limit(tmp_path: Path) -> Path:
    """A document beside its program."""
    write(tmp_path / "limit.py", LIMIT)
    return write(tmp_path / "limit.yaml", document("./limit.py", "{most: 2}"))


def greet(mrpcd: Mrpcd, name: str = "ann") -> str:
    """"" for a call that passes, else what was said."""
    done = mrpcd.cli("call", GREET, json.dumps({"name": name}))
    return done.stderr if done.returncode else ""


def wait_compiled(mrpcd: Mrpcd) -> None:
    """A service is offered to callers once the programs in force have been compiled for it."""
    eventually(lambda: '"compiled"' in mrpcd.cli("policy", "explain", GREET, "-o", "json").stdout)


def test_a_program_judges_by_a_field_and_keeps_its_state_over_config_and_swap(mrpcd: Mrpcd, tmp_path: Path, limit: Path) -> None:
    with greeter(mrpcd):
        mrpcd.cli_json("policy", "apply", str(limit))
        assert [greet(mrpcd), greet(mrpcd)] == ["", ""]
        said = greet(mrpcd)
        assert "RESOURCE_EXHAUSTED" in said and "policy 'limit' of chain 'limits': more than 2 calls" in said
        assert greet(mrpcd, "free") == ""

        write(limit, document("./limit.py", "{most: 5}"))
        report = mrpcd.cli_json("policy", "apply", str(limit))
        assert sum(shard["rows_carried"] for shard in report["shards"]) >= 1 and len(report["shards"]) >= 1
        assert greet(mrpcd) == ""  # the fourth of five

        second = write(tmp_path / "second.py", LIMIT.replace("more than", "beyond"))
        assert mrpcd.cli_json("policy", "swap", "limits", "limit", str(second))["changes"] == ["~limits"]
        assert greet(mrpcd) == ""
        assert "beyond 5 calls" in greet(mrpcd)

        assert mrpcd.cli_json("policy", "rollback")["changes"] == ["~limits"]
        assert "more than 5 calls" in greet(mrpcd)


def test_a_setting_that_only_the_program_has_asks_for_the_program(mrpcd: Mrpcd, tmp_path: Path) -> None:
    with greeter(mrpcd):
        for setting, form in (("", "native"), (", per: tenant", "compiled")):
            config = f"{{requests_per_second: 0.001, burst: 2{setting}}}"
            mrpcd.cli_json("policy", "apply", str(write(tmp_path / "limit.yaml", document("rate_limit", config))))
            assert [found["form"] for found in mrpcd.cli_json("policy", "explain", GREET)["policies"]] == [form]
            assert [greet(mrpcd), greet(mrpcd)] == ["", ""]
            assert "rate limit exceeded" in greet(mrpcd)
        wrong = write(tmp_path / "limit.yaml", document("rate_limit", "{requests_per_secnd: 1}"))
        assert "requests_per_second" in mrpcd.cli("policy", "apply", str(wrong)).stderr


def test_the_programs_of_a_chain_come_back_after_a_restart_and_fit_what_is_offered_then(start_mrpcd: Start, limit: Path) -> None:
    first = start_mrpcd()
    first.cli_json("policy", "apply", str(limit))
    (limit.parent / "limit.py").unlink()
    first.stop(9)
    again = start_mrpcd()
    with greeter(again):
        wait_compiled(again)
        assert [greet(again), greet(again)] == ["", ""]
        assert "more than 2 calls" in greet(again)
        (found,) = again.cli_json("policy", "explain", GREET)["policies"]
        assert (found["form"], found["reads"], found["state"]) == ("compiled", ["request.name"], ["used per client"])
        assert (found["evaluations"], found["denied"], found["faults"]) == (3, 1, 0) and found["ns_total"] > 0
        metrics = again.cli("metrics").stdout
        assert 'mrpc_policy_denied_total{chain="limits",policy="limit"} 1.0' in metrics
        assert 'mrpc_policy_state_rows{chain="limits",policy="limit"} 1.0' in metrics
        assert "mrpc_policy_apply_pause_seconds_count" in metrics


def test_what_does_not_fit_an_edge_is_told_with_file_and_line_and_what_ran_runs_on(mrpcd: Mrpcd, tmp_path: Path, limit: Path) -> None:
    with greeter(mrpcd):
        mrpcd.cli_json("policy", "apply", str(limit))
        wrong = write(tmp_path / "wrong.py", LIMIT.replace("request.name", "request.nome"))
        said = refused(mrpcd, 1, "swap", "limits", "limit", str(wrong))
        for method in ("Greet", "Watch"):
            assert f"on test.Greeter/{method}: wrong.py:11" in said
        assert "did you mean 'name'?" in said
        assert [greet(mrpcd), greet(mrpcd)] == ["", ""] and "more than 2" in greet(mrpcd)


def test_a_service_that_a_program_in_force_does_not_fit_is_refused_when_it_comes(mrpcd: Mrpcd, tmp_path: Path, limit: Path) -> None:
    write(tmp_path / "limit.py", LIMIT.replace("request.name", "request.nome"))
    mrpcd.cli_json("policy", "apply", str(limit))  # nothing is on offer that it could be held against
    with greeter(mrpcd):
        mrpcd.wait_log("calls of test.Greeter are refused")
        assert greet(mrpcd) != ""
        (unfit,) = mrpcd.cli_json("policy", "explain", GREET)["unfit"]
        assert "no field 'nome'" in unfit["reason"]
        mrpcd.cli_json("policy", "delete", "limits")
        assert greet(mrpcd) == ""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (LIMIT.replace("        self.used += 1\n", "        while True:\n            self.used += 1\n"), "limit.py:13"),
        (LIMIT.replace("def on_request", "def on_requst"), "on_requst"),
        ("class X:\n", "limit.py:"),
        (LIMIT + "import os\n", "limit.py:16"),
    ],
)
def test_a_program_that_is_none_is_refused(mrpcd: Mrpcd, limit: Path, program: str, reason: str) -> None:
    write(limit.parent / "limit.py", program)
    said = refused(mrpcd, 1, "apply", str(limit))
    assert reason in said and "spec.policies[0].use" in said


@pytest.mark.parametrize(
    ("config", "reason"),
    [("{moste: 3}", "did you mean 'most'?"), ("{most: many}", "most: 'many' is no int")],
)
def test_a_config_is_held_against_the_declared_fields(mrpcd: Mrpcd, limit: Path, config: str, reason: str) -> None:
    write(limit, document("./limit.py", config))
    said = refused(mrpcd, 1, "apply", str(limit))
    assert f"{limit}, document 1, spec.policies[0].config" in said and reason in said


def test_a_program_of_the_library_is_used_by_name_and_one_of_a_folder_comes_first(start_mrpcd: Start, tmp_path: Path, limit: Path) -> None:
    mrpcd = start_mrpcd()
    with greeter(mrpcd):
        write(limit, document("size_limit", "{request_bytes_max: 64}"))
        mrpcd.cli_json("policy", "apply", str(limit))
        assert greet(mrpcd, "x" * 500) != "" and greet(mrpcd, "x") == ""
    mrpcd.stop()
    write(tmp_path / "size_limit.py", LIMIT)
    own = start_mrpcd("--policies", str(tmp_path), name="own")
    write(limit, document("size_limit", "{most: 0}"))
    own.cli_json("policy", "apply", str(limit))
    with greeter(own):
        wait_compiled(own)
        assert "more than 0 calls" in greet(own, "x")


def test_programs_of_configuration_files_are_read_beside_them(start_mrpcd: Start, limit: Path) -> None:
    mrpcd = start_mrpcd("--config", str(limit))
    with greeter(mrpcd):
        wait_compiled(mrpcd)
        assert [greet(mrpcd), greet(mrpcd)] == ["", ""] and "more than 2" in greet(mrpcd)
        write(limit.parent / "limit.py", LIMIT.replace("more than", "beyond"))
        mrpcd.cli_json("reload")
        assert "beyond 2" in greet(mrpcd)
    assert names(mrpcd) == ["limits"]


def test_diff_shows_what_changes_in_a_program(mrpcd: Mrpcd, limit: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(limit))
    write(limit.parent / "limit.py", LIMIT.replace("more than", "beyond"))
    changed = [line for line in mrpcd.cli("policy", "diff", str(limit)).stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.split("f\"")[1] for line in changed] == ["more than {self.most} calls\")", "beyond {self.most} calls\")"]


def test_a_policy_that_denies_everything_is_shown_before_and_needs_force(mrpcd: Mrpcd, tmp_path: Path, limit: Path) -> None:
    with greeter(mrpcd):
        for _ in range(12):
            assert greet(mrpcd) == ""
        write(tmp_path / "nobody.py", DENY_ALL)
        write(limit, document("./nobody.py"))
        report = mrpcd.cli_json("policy", "dry-run", str(limit))
        assert report["dry_run"]["calls"] >= 10 and report["newly_denied"] >= 10
        said = refused(mrpcd, 6, "apply", str(limit))
        assert "would newly be denied" in said and "closed" in said and "--force" in said
        assert greet(mrpcd) == ""
        mrpcd.cli_json("policy", "apply", "--force", str(limit))
        assert "closed" in greet(mrpcd)
        assert "forced" in mrpcd.cli("policy", "history").stdout


def test_a_shared_budget_is_leased_from_redis_and_spent_alone_without_it(start_mrpcd: Start, tmp_path: Path, limit: Path) -> None:
    socket_path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket_path), "--save", "", "--appendonly", "no"]
    write(limit, document("global_rate_limit", "{requests_per_second: 1000, burst: 100}"))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path))
        stack.callback(server.kill)
        assert server.stdout is not None
        next(line for line in server.stdout if "eady to accept" in line)
        mrpcd = start_mrpcd("--policy-store", f"unix://{socket_path}")
        mrpcd.cli_json("policy", "apply", str(limit))
        stack.enter_context(greeter(mrpcd))
        eventually(lambda: bool(mrpcd.cli_json("policy", "show")["leases"]))
        eventually(lambda: greet(mrpcd) == "")
        (lease,) = mrpcd.cli_json("policy", "show")["leases"]
        assert lease["shared"] and lease["rate_per_s"] == 1000
        server.kill()
        mrpcd.wait_log("the policy store cannot be reached")
        eventually(lambda: greet(mrpcd) == "")
        (lease,) = mrpcd.cli_json("policy", "show")["leases"]
        assert not lease["shared"] and lease["error"]
        assert "mrpc_policy_store_reachable 0.0" in mrpcd.cli("metrics").stdout
