"""Recorded calls and dry runs as the control plane has them, with a data plane in this process and a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mrpc_service._dataplane import Dataplane

from mrpc_service.cli.call import make_call
from mrpc_service.policy.compiler import Compiler
from tests.policy.test_layouts import wait_event
from tests.service import greeter

POLICIES = Path(__file__).parents[2] / "policies"
KEYS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPjHURo"}]}'
REFUSE_ANN = {"name": "no-ann", "use": "access_control", "config": {"field": "name", "deny": ["ann"]}}


def chain(*policies: dict[str, Any]) -> dict[str, Any]:
    return {"name": "c", "client": "*", "service": "*", "method": "*", "side": "any", "policies": list(policies)}


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dataplane]:
    """With a greeter that is on offer; this process finds it."""
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(tmp_path))
    plane = Dataplane(
        socket_path=str(tmp_path / "app.sock"), node="here", shards=2, message_bytes_max=1 << 20, send_quota_bytes=1 << 24,
        receive_quota_bytes=1 << 24,
    )  # fmt: skip
    plane.start()
    with subprocess.Popen([sys.executable, greeter.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdout.readline() == "serving\n"
        wait_event(plane, "offered")
        yield plane
        server.kill()
    plane.stop(0)


def call(plane: Dataplane, name: str, *metadata: tuple[str, str | bytes]) -> str:
    """The status's name."""
    text = f'{{"name": "{name}"}}'
    answer = make_call(plane.schema(greeter.SERVICE), greeter.SERVICE, "Greet", text, 10, list(metadata), greeter.SERVICE)
    code: str = answer["code"]
    return code


def test_what_was_called_is_recorded_and_judged_again(plane: Dataplane) -> None:
    assert [call(plane, name) for name in ("ann", "bob", "nobody")] == ["OK", "OK", "NOT_FOUND"]
    recorded = plane.recorded(10)
    assert [each["status"] for each in recorded] == [5, 0, 0]
    assert recorded[2]["request"] == b"\n\x03ann"
    me = f"uid:{os.geteuid()}"
    assert {(each["client"], each["tenant"], each["service"], each["method"]) for each in recorded} == {(me, me, "test.Greeter", "Greet")}
    assert recorded[0]["fingerprint"] == plane.schemas()[0]["fingerprint"]
    assert len(plane.recorded(1)) == 1

    run = plane.dry_run([chain(REFUSE_ANN)], [])
    assert (run["calls"], run["denied"]) == (3, 1)
    (policy,) = run["policies"]
    assert (policy["chain"], policy["policy"], policy["evaluated"], policy["newly_denied"]) == ("c", "no-ann", 3, 1)
    assert policy["examples"][0]["client"] == me and "no-ann" in policy["examples"][0]["text"]
    assert call(plane, "ann") == "OK"  # nothing is in force

    plane.apply_chains([chain(REFUSE_ANN)], [])
    assert call(plane, "ann") == "PERMISSION_DENIED"
    (lifted,) = plane.dry_run([chain(REFUSE_ANN | {"config": {"field": "name", "deny": ["bob"]}})], [])["policies"]
    assert (lifted["newly_passed"], lifted["newly_denied"]) == (1, 1)


def test_a_policy_that_reads_what_is_not_kept_is_told_and_not_judged(plane: Dataplane, tmp_path: Path) -> None:
    for _ in range(3):
        assert call(plane, "ann", ("authorization", "Bearer x")) == "OK"
    binding, checked = asyncio.run(bind("token_check", {"keys": KEYS}, tmp_path / "compiled"))
    run = plane.dry_run([chain({"name": "p", "use": "token_check", "config": checked}, REFUSE_ANN)], [binding])
    token, behind = run["policies"]
    assert (token["unjudged"], token["withheld"], token["denied"], token["newly_denied"]) == (3, ["authorization"], 0, 0)
    assert (behind["unjudged"], behind["newly_denied"], run["denied"]) == (0, 3, 3)


async def bind(policy: str, config: dict[str, Any], cache: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A binding of a program of the library to every method, and its whole configuration."""
    compiler = Compiler(cache)
    try:
        program = await compiler.load((POLICIES / f"{policy}.py").read_text(), f"{policy}.py")
        checked = dict(program.check_config(config))
        spec = await compiler.compile(program, checked, None)
        return {"chain": "c", "policy": "p", "service": "", "method": "", "fingerprint": 0, "spec": spec}, checked
    finally:
        await compiler.close()


def test_a_chain_that_does_not_fit_is_refused(plane: Dataplane) -> None:
    with pytest.raises(ValueError, match="surname"):
        plane.dry_run([chain({"name": "p", "use": "access_control", "config": {"field": "surname", "deny": ["x"]}})], [])


def test_what_is_not_to_be_recorded_is_not(plane: Dataplane) -> None:
    call(plane, "ann")
    plane.configure_recorder(100, 1.0, ["test.GreetRequest.name"])
    assert plane.recorded(10) == []
    call(plane, "ann", ("authorization", "secret"))
    assert [each["request"] for each in plane.recorded(10)] == [b""]
    plane.configure_recorder(100, 0.0, [])
    call(plane, "bob")
    assert len(plane.recorded(10)) == 1
    plane.configure_recorder(0, 1.0, [])
    call(plane, "bob")
    assert plane.recorded(10) == []


@pytest.mark.parametrize(("calls_max", "sample"), [(1, -0.1), (1, 1.5), (1, float("nan")), (1 << 20, 1.0)])
def test_settings_that_make_no_sense_are_refused(plane: Dataplane, calls_max: int, sample: float) -> None:
    with pytest.raises(ValueError):
        plane.configure_recorder(calls_max, sample, [])
