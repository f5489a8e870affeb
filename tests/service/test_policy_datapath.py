"""Policy programs from their source to a judged call: compiled, loaded, swapped and taken away in a running daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Mrpcd
from .test_applications import GREET, eventually, greeter

PROGRAM = '''\
"""At most so many calls for each name, and none for one of them."""
from mrpc_service.policy import PERMISSION_DENIED, RESOURCE_EXHAUSTED, Policy, deny, state

class PerName(Policy):
    calls: int = 2
    barred: str = "mallory"
    used: int = state(per="global")

    def on_request(self, call, request):
        if request.name == self.barred:
            return deny(PERMISSION_DENIED, f"{self.barred} is barred")
        if self.used >= self.calls:
            return deny(RESOURCE_EXHAUSTED, f"more than {self.calls} calls")
        self.used += 1
'''
CHAIN = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {{name: limit}}
spec:
  selector: {{service: test.Greeter}}
  policies:
    - {{name: names, use: ./per_name.py, config: {config}}}
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    (tmp_path / "per_name.py").write_text(PROGRAM)
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN.format(config="{calls: 2}"))
    return path


def call(mrpcd: Mrpcd, name: str = "ann") -> str:
    """What the CLI says of a call: nothing when it succeeds."""
    return mrpcd.cli("call", GREET, f'{{"name": "{name}"}}').stderr


def counters(mrpcd: Mrpcd) -> dict[str, Any]:
    policies = [policy for edge in mrpcd.cli_json("edges") for policy in edge.get("policies", [])]
    return next(policy for policy in policies if policy["policy"] == "names" and int(policy.get("evaluations", 0)) > 0)


def test_a_program_judges_real_calls_and_keeps_its_state_when_its_values_change(mrpcd: Mrpcd, chain: Path) -> None:
    with greeter(mrpcd):
        report = mrpcd.cli_json("policy", "apply", str(chain))
        assert [shard["index"] for shard in report["shards"]] == list(range(len(report["shards"])))
        assert call(mrpcd) == ""
        assert "mallory is barred" in call(mrpcd, "mallory")
        assert call(mrpcd) == ""
        assert "more than 2 calls" in call(mrpcd)
        chain.write_text(CHAIN.format(config="{calls: 3, barred: bob}"))
        mrpcd.cli_json("policy", "apply", str(chain))
        assert call(mrpcd, "mallory") == ""
        assert "more than 3 calls" in call(mrpcd)
        assert "bob is barred" in call(mrpcd, "bob")


def test_another_version_of_a_program_finds_the_state_of_the_one_before(mrpcd: Mrpcd, chain: Path) -> None:
    with greeter(mrpcd):
        mrpcd.cli_json("policy", "apply", str(chain))
        assert call(mrpcd) == ""
        (chain.parent / "per_name.py").write_text(PROGRAM.replace("used: int", "seen: int = state(per='global')\n    used: int"))
        mrpcd.cli_json("policy", "apply", str(chain))
        assert call(mrpcd) == ""
        assert "more than 2 calls" in call(mrpcd)


def test_a_service_that_comes_later_is_shown_when_its_programs_are_there(mrpcd: Mrpcd, chain: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(chain))
    with greeter(mrpcd):
        eventually(lambda: call(mrpcd) == "")
        assert "mallory is barred" in call(mrpcd, "mallory")


def test_a_service_that_a_program_does_not_fit_is_refused_with_the_reason(mrpcd: Mrpcd, chain: Path) -> None:
    (chain.parent / "per_name.py").write_text(PROGRAM.replace("request.name", "request.nome"))
    mrpcd.cli_json("policy", "apply", str(chain))
    with greeter(mrpcd):
        eventually(lambda: "nome" in call(mrpcd))
        assert "FAILED_PRECONDITION" in call(mrpcd)
