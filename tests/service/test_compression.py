"""The wire between two daemons is packed, and no longer, while calls go on."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Mrpcd
from .test_applications import GREET, greeter
from .test_policy_apply import write
from .test_policy_move import chain, daemons, steady_calls, wait_offered  # noqa: F401

PACK = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {name: pack}
spec:
  selector: {service: test.Greeter}
  policies:
    - {name: pack, use: compression, config: {above_bytes: 0}}
"""
LONG = "ann" * 30_000


def saved(mrpcd: Mrpcd) -> int:
    with mrpcd.client() as client:
        return int(client.call("GetSnapshot").transport["bytes_saved"])


def greet(mrpcd: Mrpcd) -> None:
    called = mrpcd.cli_json("call", GREET, json.dumps({"name": LONG}))
    assert called["reply"]["text"] == f"hello {LONG}"


def test_compression_is_turned_on_and_off_on_both_daemons_without_a_failed_call(daemons: tuple[Mrpcd, Mrpcd], tmp_path: Path) -> None:  # noqa: F811
    document = write(tmp_path / "pack.yaml", PACK)
    callers, endpoints = daemons
    with greeter(endpoints):
        wait_offered(callers)
        with steady_calls(callers) as more:
            more()
            greet(callers)
            assert saved(callers) == saved(endpoints) == 0
            callers.cli_json("policy", "apply", str(document))
            greet(callers)
            assert saved(callers) > 0 and saved(endpoints) == 0  # requests alone
            endpoints.cli_json("policy", "apply", str(document))
            greet(callers)
            assert saved(endpoints) > 0
            more()
            callers.cli_json("policy", "delete", "pack")
            before = saved(callers)
            greet(callers)
            assert saved(callers) == before
        assert list(more.replies) == ["hello ann"], more.replies


def test_what_is_no_setting_of_compression_is_told(mrpcd: Mrpcd, tmp_path: Path) -> None:
    for config, fault in (("{level: 12}", "level"), ("{algorithm: lzma}", "algorithm"), ("{above: 1}", "did you mean 'above_bytes'?")):
        refused = mrpcd.cli("policy", "apply", str(write(tmp_path / "pack.yaml", PACK.replace("{above_bytes: 0}", config))))
        assert refused.returncode == 1 and fault in refused.stderr
