"""`mrpc policy test`: a policy file, checked and played, without a daemon where it reads no fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mrpc_service.cli.commands import cli
from mrpc_service.policy.compiled_form import CompiledForm

from .conftest import Mrpcd
from .test_applications import GREET, greeter
from .test_policy_apply import write
from .test_policy_programs import LIMIT

ODD = '''\
from mrpc_service.policy import Policy, deny


class Odd(Policy):
    def on_request(self, call, request):
        return deny(call.message_bytes, "odd")
'''
LIBRARY = Path(__file__).parents[2] / "policies"
CASES = """\
cases:
  - name: a burst passes, then the rate holds
    config: {requests_per_second: 10, burst: 2}
    steps:
      - {request: {}}
      - {request: {}, client: other}
      - {request: {}}
      - {wait: 50ms, request: {}, verdict: {deny: RESOURCE_EXHAUSTED, says: rate limit}}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["policy", "test", *arguments])


def test_cases_are_played_and_told_as_a_table(tmp_path: Path) -> None:
    cases = write(tmp_path / "cases.yaml", CASES)
    done = run(str(LIBRARY / "rate_limit.py"), "--cases", str(cases))
    assert done.exit_code == 0, done.output
    assert "deny RESOURCE_EXHAUSTED" in done.output and "4 of 4 as expected, as Python and compiled" in done.output
    wrong = write(cases, CASES.replace("says: rate limit", "says: too hot"))
    done = run(str(LIBRARY / "rate_limit.py"), "--cases", str(wrong), "-o", "json")
    assert done.exit_code == 1
    assert [each["ok"] for each in json.loads(done.output)["outcomes"]] == [True, True, True, False]


def test_a_compiled_form_that_says_something_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompiledForm, "run", lambda *_: ("delay", 5))
    done = run(str(LIBRARY / "rate_limit.py"), "--cases", str(write(tmp_path / "cases.yaml", CASES)))
    assert done.exit_code == 1 and "forward as Python, delay 5 compiled" in done.output and "0 of 4" in done.output


def test_a_computed_code_that_is_none_is_unknown_in_both_forms(tmp_path: Path) -> None:
    file = write(tmp_path / "odd.py", ODD)
    cases = [{"name": str(code), "steps": [{"request": {}, "bytes": code, "verdict": {"deny": name}}]}
             for code, name in ((16, "UNAUTHENTICATED"), (17, "UNKNOWN"), (0, "UNKNOWN"))]
    done = run(str(file), "--cases", str(write(tmp_path / "cases.yaml", json.dumps({"cases": cases}))))
    assert done.exit_code == 0 and "3 of 3 as expected, as Python and compiled" in done.output, done.output


@pytest.mark.parametrize("command", [[], ["policy"], *(["policy", name] for name in ("apply", "swap", "rollback", "delete"))])
def test_help_tells_the_exit_codes_of_conflicts_and_of_the_gate(command: list[str]) -> None:
    told = CliRunner().invoke(cli, [*command, "--help"]).output
    assert "Exit codes: 0 done; 1 " in told and "5 others have changed" in told and "would deny too many calls (--force)" in told


@pytest.mark.parametrize("fields", [{f"a{i}": "client" for i in range(17)}, {f"a{i}": f"metadata:k{i}" for i in range(9)}])
def test_state_has_bounds(tmp_path: Path, fields: dict[str, str]) -> None:
    lines = [f"    {name}: int = state(per={per!r})" for name, per in fields.items()]
    head = "from mrpc_service.policy import Policy, state\n\n\nclass P(Policy):\n"
    text = head + "\n".join(lines) + "\n\n    def on_request(self, call, request):\n        self.a0 += 1\n"
    done = run(str(write(tmp_path / "p.py", text)))
    assert done.exit_code == 1 and "more than 8 scopes, or of more than 16 fields" in done.output


def test_a_file_alone_is_checked_and_compiled() -> None:
    done = run(str(LIBRARY / "rate_limit.py"), "--config", "requests_per_second=5", "-o", "json")
    assert done.exit_code == 0 and json.loads(done.output)["object_bytes"] > 0, done.output


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        (LIMIT.replace("if request", "while request"), [], "limit.py:11"),
        (LIMIT, ["--config", "moste=1"], "did you mean 'most'?"),
        (LIMIT, ["--method", "Greet"], "is not SERVICE/METHOD"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, arguments: list[str], reason: str) -> None:
    done = run(str(write(tmp_path / "limit.py", text)), *arguments)
    assert done.exit_code != 0 and reason in done.output


@pytest.mark.parametrize("cases", ["[]", "cases: 3", "cases: [3]", "cases: [{name: x}]", "cases: [{name: x, steps: [{verdict: deny}]}]",
                                   "cases: [{name: x, steps: [{request: {}, verdikt: hold}]}]", "cases: ["])
def test_cases_that_are_none_are_refused(tmp_path: Path, cases: str) -> None:
    done = run(str(LIBRARY / "concurrency_limit.py"), "--cases", str(write(tmp_path / "c.yaml", cases)), "--config", "limit=1")
    assert done.exit_code == 1 and done.output.startswith("Error: "), done.output


def test_a_program_that_reads_fields_is_played_with_a_methods_messages(
    start_mrpcd: Callable[..., Mrpcd], tmp_path: Path
) -> None:
    mrpcd = start_mrpcd()
    file = write(tmp_path / "limit.py", LIMIT)
    steps: list[dict[str, Any]] = [{"request": {"name": "free"}}, {"request": {"name": "ann"}, "verdict": {"deny": "RESOURCE_EXHAUSTED"}}]
    cases = write(tmp_path / "cases.yaml", json.dumps({"cases": [{"name": "free passes", "config": {"most": 0}, "steps": steps}]}))
    with greeter(mrpcd):
        found = mrpcd.cli_json("policy", "test", str(file), "--method", GREET, "--cases", str(cases))
    assert [(each["ok"], each["found"] == each["compiled"]) for each in found["outcomes"]] == [(True, True)] * 2
    assert found["reads"] == ["request.name"] and found["object_bytes"] > 0
