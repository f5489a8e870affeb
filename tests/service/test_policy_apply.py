"""Applying policy chains to a running daemon: what changes, what is refused, what is remembered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Mrpcd
from .test_applications import DENY, GREET, greeter

Start = Callable[..., Mrpcd]
CHAIN = DENY.replace("mallory", "eve").replace("guard", "watch")


@pytest.fixture
def deny(tmp_path: Path) -> Path:
    return write(tmp_path / "deny.yaml", DENY)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def names(mrpcd: Mrpcd) -> list[str]:
    return [chain["name"] for chain in mrpcd.cli_json("policy", "show")["chains"]]


def refused(mrpcd: Mrpcd, exit_code: int, *arguments: str) -> str:
    """What the CLI said when it refused, on one line or more."""
    done = mrpcd.cli("policy", *arguments)
    assert (done.returncode, done.stdout) == (exit_code, ""), done.stdout + done.stderr
    return done.stderr


def test_an_applied_chain_judges_calls_and_a_deleted_one_does_not(mrpcd: Mrpcd, deny: Path) -> None:
    with greeter(mrpcd):
        report = mrpcd.cli_json("policy", "apply", str(deny))
        assert (report["revision"], report["changes"], report["chains"]) == (2, ["+guard"], 1)
        done = mrpcd.cli("call", GREET, '{"name": "mallory"}')
        assert "PERMISSION_DENIED" in done.stderr and "'guard'" in done.stderr
        assert mrpcd.cli_json("policy", "delete", "guard")["changes"] == ["-guard"]
        assert mrpcd.cli("call", GREET, '{"name": "mallory"}').returncode == 0


def test_all_documents_come_into_force_or_none(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    wrong = write(tmp_path / "wrong.yaml", CHAIN.replace("deny:", "denny:"))
    assert "did you mean 'deny'?" in refused(mrpcd, 1, "apply", str(deny), str(wrong))
    assert names(mrpcd) == []
    right = write(tmp_path / "right.yaml", CHAIN)
    assert mrpcd.cli_json("policy", "apply", str(deny), str(right))["changes"] == ["+guard", "+watch"]
    assert names(mrpcd) == ["guard", "watch"]


def test_what_does_not_fit_what_is_on_offer_is_refused_and_what_ran_runs_on(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    with greeter(mrpcd):
        mrpcd.cli_json("policy", "apply", str(deny))
        wrong = write(tmp_path / "wrong.yaml", DENY.replace("field: name", "field: nome"))
        assert "nome" in refused(mrpcd, 1, "apply", str(wrong))
        assert "PERMISSION_DENIED" in mrpcd.cli("call", GREET, '{"name": "mallory"}').stderr


def test_applied_chains_come_back_after_a_restart(start_mrpcd: Start, deny: Path) -> None:
    first = start_mrpcd()
    revision = first.cli_json("policy", "apply", str(deny))["revision"]
    before = first.cli_json("policy", "show")["chains"]
    first.stop(9)
    again = start_mrpcd()
    shown = again.cli_json("policy", "show")
    assert shown["chains"] == before and shown["revision"] == revision
    with greeter(again):
        assert "PERMISSION_DENIED" in again.cli("call", GREET, '{"name": "mallory"}').stderr


def test_a_change_made_against_an_old_revision_is_refused_and_says_who_changed_what(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    seen = mrpcd.cli_json("policy", "show")["revision"]
    mrpcd.cli_json("policy", "apply", str(deny))
    other = write(tmp_path / "other.yaml", CHAIN)
    said = refused(mrpcd, 5, "apply", "--revision", str(seen), str(other))
    assert "ABORTED" in said and "+guard" in said and "by uid:" in said
    assert names(mrpcd) == ["guard"]
    mrpcd.cli_json("policy", "apply", str(other))
    assert names(mrpcd) == ["guard", "watch"]


def test_a_document_that_was_shown_and_edited_meets_a_change_meanwhile(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(deny))
    shown = mrpcd.cli("policy", "show", "guard", "-o", "yaml").stdout
    edited = write(tmp_path / "edited.yaml", shown.replace("mallory", "trudy"))
    mrpcd.cli_json("policy", "apply", str(write(tmp_path / "theirs.yaml", DENY.replace("mallory]", "oscar]"))))
    assert "was changed in revision 3" in refused(mrpcd, 5, "apply", str(edited))
    shown = mrpcd.cli("policy", "show", "guard", "-o", "yaml").stdout
    edited.write_text(shown.replace("oscar", "trudy"))
    assert mrpcd.cli_json("policy", "apply", str(edited))["changes"] == ["~guard"]


def test_rollback_brings_back_an_earlier_revision_as_a_new_one(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(deny))
    first = mrpcd.cli_json("policy", "show")["chains"][0]["policies"]
    mrpcd.cli_json("policy", "apply", str(write(deny, DENY.replace("mallory]", "oscar]"))))
    assert mrpcd.cli_json("policy", "rollback")["changes"] == ["~guard"]
    shown = mrpcd.cli_json("policy", "show")
    assert shown["chains"][0]["policies"] == first and shown["revision"] == 4
    assert mrpcd.cli_json("policy", "rollback", "1")["changes"] == ["-guard"]
    assert "is not kept" in refused(mrpcd, 1, "rollback", "99")


def test_history_tells_who_did_what(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(deny))
    mrpcd.cli_json("policy", "delete", "guard")
    refused(mrpcd, 1, "delete", "guard")
    records = mrpcd.cli_json("policy", "history")
    assert [(each["revision"], each["cause"], each["state"], each["changes"]) for each in records] == [
        (3, "delete", "committed", ["-guard"]), (2, "apply", "committed", ["+guard"]), (1, "start", "committed", []),
    ]
    assert all(each["operator_uid"] == os.getuid() for each in records)
    assert [chain["name"] for chain in records[1]["chains"]] == ["guard"]


def test_diff_shows_what_an_apply_would_change(mrpcd: Mrpcd, deny: Path) -> None:
    assert "+++ guard (new)" in mrpcd.cli("policy", "diff", str(deny)).stdout
    mrpcd.cli_json("policy", "apply", str(deny))
    assert mrpcd.cli("policy", "diff", "--exit-code", str(deny)).stdout == "No difference.\n"
    write(deny, DENY.replace("mallory]", "oscar]"))
    changed = mrpcd.cli("policy", "diff", "--exit-code", str(deny))
    assert changed.returncode == 1
    assert [line[0] for line in changed.stdout.splitlines() if "mallory" in line and "oscar" not in line] == ["-"]
    assert names(mrpcd) == ["guard"]


# ---- files and applied chains


def test_a_chain_of_a_file_is_not_applied_over_unless_adopted(tmp_path: Path, start_mrpcd: Start, deny: Path) -> None:
    config = write(tmp_path / "config.yaml", DENY + "---\n" + CHAIN)
    mrpcd = start_mrpcd("--config", str(config))
    write(deny, DENY.replace("mallory]", "oscar]"))
    said = refused(mrpcd, 1, "apply", str(deny))
    assert f"belongs to {config}, document 1" in said and "--adopt" in said
    mrpcd.cli_json("policy", "apply", "--adopt", str(deny))
    shown = mrpcd.cli_json("policy", "show")["chains"]
    assert [(chain["name"], chain["layer"]) for chain in shown] == [("guard", "applied"), ("watch", "config")]
    assert mrpcd.cli_json("reload")["chains"] == 2
    assert mrpcd.cli_json("policy", "show")["chains"] == shown
    mrpcd.cli_json("policy", "delete", "guard")
    shown = mrpcd.cli_json("policy", "show")["chains"]
    assert shown[0]["layer"] == "config" and shown[0]["policies"][0]["config"]["deny"] == ["mallory"]
    assert "remove it there" in refused(mrpcd, 1, "delete", "guard")


def test_a_file_may_not_take_the_name_of_an_applied_chain(tmp_path: Path, start_mrpcd: Start, deny: Path) -> None:
    config = write(tmp_path / "config.yaml", CHAIN)
    mrpcd = start_mrpcd("--config", str(config))
    mrpcd.cli_json("policy", "apply", str(deny))
    config.write_text(DENY)
    done = mrpcd.cli("reload")
    assert done.returncode == 1 and "'mrpc policy delete guard' first" in done.stderr
    assert names(mrpcd) == ["watch", "guard"]


def test_prune_leaves_only_what_is_given(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(deny))
    assert mrpcd.cli_json("policy", "apply", "--prune", str(write(tmp_path / "o.yaml", CHAIN)))["changes"] == ["-guard", "+watch"]


@pytest.mark.parametrize(
    ("text", "exit_code", "reason"),
    [
        ("kind: Daemon\napiVersion: mrpc/v1alpha1\n", 1, "only a PolicyChain can be applied"),
        ("# nothing\n", 1, "there is no PolicyChain"),
        ("a: [", 1, "line "),
        (DENY.replace("access_control", "acces_control"), 1, "did you mean 'access_control'?"),
        (DENY.replace("access_control", "./absent.py"), 2, "absent.py"),
    ],
)
def test_what_is_no_chain_is_refused(mrpcd: Mrpcd, tmp_path: Path, text: str, exit_code: int, reason: str) -> None:
    assert reason in refused(mrpcd, exit_code, "apply", str(write(tmp_path / "a.yaml", text)))


def test_documents_shown_as_yaml_can_be_applied_elsewhere(mrpcd: Mrpcd, start_mrpcd: Start, tmp_path: Path, deny: Path) -> None:
    mrpcd.cli_json("policy", "apply", str(deny), str(write(tmp_path / "o.yaml", CHAIN)))
    shown = mrpcd.cli("policy", "show", "-o", "yaml").stdout
    documents: list[Any] = list(yaml.safe_load_all(shown))
    assert [each["metadata"]["name"] for each in documents] == ["guard", "watch"]
    for each in documents:
        del each["metadata"]["revision"]
    other = start_mrpcd(name="other")
    copy = write(tmp_path / "copy.yaml", yaml.safe_dump_all(documents))
    other.cli_json("policy", "apply", str(copy))
    assert json.dumps(names(other)) == json.dumps(["guard", "watch"])


def test_explain_lists_what_judges_a_method_in_order(mrpcd: Mrpcd, tmp_path: Path, deny: Path) -> None:
    with greeter(mrpcd):
        mrpcd.cli_json("policy", "apply", str(deny), str(write(tmp_path / "o.yaml", CHAIN)))
        for name in ("ann", "mallory"):
            mrpcd.cli("call", GREET, f'{{"name": "{name}"}}')
        found = mrpcd.cli_json("policy", "explain", GREET)["policies"]
        assert [(each["chain"], each["policy"], each["evaluations"], each["denied"]) for each in found] == [
            ("guard", "no-mallory", 2, 1), ("watch", "no-eve", 1, 0),
        ]
        assert "no endpoint offers" in refused(mrpcd, 1, "explain", "test.Greeter/Greed")
