"""A policy program in each form that it has, behind one face: a step of a case goes in, what came of it comes out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mrpc_service.policy.interpreter import Interpreter
from mrpc_service.policy.language import STATUS_CODES, Token
from mrpc_service.policy.source import read
from mrpc_service.policy.values import read_value
from tests.policy.fake_host import FakeHost
from tests.policy.native_form import Keyed

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
POLICIES = {path.stem: path for path in sorted((ROOT / "policies").glob("*.py"))}
ANSWERS = {"hit": 1, "lead": 2, "wait": 3}
CALL: dict[str, Any] = {
    "now_ns": 10**18, "unix_ns": 1_700_000_000 * 10**9, "started_ns": 10**18, "deadline_ns": 0, "message_bytes": 64, "first": 1, "last": 1,
    "status": 0, "denied": 0, "client": "shop", "server": "desk", "service": "hotel.Reservation", "method": "MakeReservation", "tenant": "shop",
}
ELAPSED_NS = 1_000_000


def hotel_schema(folder: Path) -> bytes:
    """The hotel's protocol as a serialised FileDescriptorSet."""
    out = folder / "hotel.pb"
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto/hotel'}", f"--descriptor_set_out={out}",
                    "--include_imports", "hotel.proto"], check=True)
    return out.read_bytes()


def messages(schema: bytes) -> Callable[[str], Any]:
    """Full name -> class of google.protobuf, in a pool of their own."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(schema).file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def cases(part: str) -> Iterator[tuple[str, Any]]:
    """(policy, case) of all files."""
    for name in POLICIES:
        for case in yaml.safe_load((HERE / f"{name}.yaml").read_text())[part]:
            yield name, case


def duration_ns(text: str) -> int:
    return int(read_value("Duration", text))


class Script(FakeHost):
    """The daemon's answers of one step."""

    def __init__(self, step: Mapping[str, Any]) -> None:
        super().__init__(given={key.encode(): value.encode() for key, value in step.get("metadata", {}).items()})
        self._randoms = [int(each * (1 << 64)) for each in step.get("random", [])]
        self.answers = ANSWERS.get(step.get("answer", ""), 0)
        self.grants = step.get("take", False)
        self.verified = Token(**step.get("token", {"valid": False}))

    def random(self) -> int:
        assert self._randoms, "the program draws more random numbers than the case has"
        return self._randoms.pop(0)

    def did(self, what: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.done if each[0] == what]


class Form(Protocol):
    """One instance of one program, with a row of state for each value of each scope."""

    def run(self, hook: str, call: dict[str, Any], message: Any, host: Script) -> tuple[Any, ...]:
        """("forward",), ("deny", code, text), ("delay", ns), ("route", hash, app), ("hold",), ("reply",), ("fault", which, line)."""

    def state(self, call: dict[str, Any]) -> dict[str, Any]:
        """Fields of the rows that this call sees."""


class CompiledForm:
    def __init__(self, path: Path, config: dict[str, Any], kinds: tuple[Any, Any]) -> None:
        self._compiled = Keyed(path.read_text(), FakeHost(), config, path.name, messages=kinds)

    def run(self, hook: str, call: dict[str, Any], message: Any, host: Script) -> tuple[Any, ...]:
        self._compiled.host = host
        return self._compiled.run(hook, call, message)

    def state(self, call: dict[str, Any]) -> dict[str, Any]:
        return self._compiled.state(call)


class InterpretedForm:
    def __init__(self, path: Path, config: dict[str, Any], kinds: tuple[Any, Any]) -> None:
        self._program = Interpreter(read(path), config, FakeHost())

    def run(self, hook: str, call: dict[str, Any], message: Any, host: Script) -> tuple[Any, ...]:
        self._program.host = host
        return self._program.run(hook, call, message)

    def state(self, call: dict[str, Any]) -> dict[str, Any]:
        scopes = {self._program.scope(field.per) for field in self._program.declared.state.values()}
        return {name: value for scope in scopes for name, value in self._program.row(tuple(scope), call).items()}


class Play:
    """Plays a case to a form."""

    def __init__(self, form: Form, kinds: tuple[Any, Any]) -> None:
        self._form, self._kinds = form, kinds
        self._now_ns = CALL["now_ns"]

    def all(self, case: Mapping[str, Any]) -> None:
        for part in case.get("repeat", []):
            for _ in range(part["times"]):
                self._steps(part["steps"])
        self._steps(case["steps"])

    def _steps(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            self.step(step)

    def step(self, step: dict[str, Any]) -> None:
        hook, call = self._enter(step)
        message = None
        if hook != "end":
            message = self._kinds[hook == "reply"](**step[hook])
        host = Script(step)
        check_verdict(step, self._form.run(hook, call, message, host))
        check_deeds(step, host, message)
        self._check_state(step, call)

    def _enter(self, step: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        hook = next(each for each in ("request", "reply", "end") if each in step)
        self._now_ns += duration_ns(step["wait"]) if "wait" in step else 0
        call = {**CALL, **{key: value for key, value in step.items() if key in CALL}, "now_ns": self._now_ns, "started_ns": self._now_ns}
        call["tenant"] = step.get("tenant", call["client"])
        call["message_bytes"] = step.get("bytes", 0 if hook == "end" else CALL["message_bytes"])
        call["first"], call["last"] = int(step.get("first", True)), int(step.get("last", True))
        call["status"] = STATUS_CODES[step["end"] if hook == "end" else step.get("status", "OK")]
        if hook == "end":
            call["started_ns"] = self._now_ns - (duration_ns(step["elapsed"]) if "elapsed" in step else ELAPSED_NS)
        return hook, call

    def _check_state(self, step: Mapping[str, Any], call: dict[str, Any]) -> None:
        found = self._form.state(call) if {"state", "state_above", "state_below"} & step.keys() else {}
        for name, value in step.get("state", {}).items():
            assert found[name] == value, name
        for name, value in step.get("state_above", {}).items():
            assert found[name] > value, name
        for name, value in step.get("state_below", {}).items():
            assert found[name] < value, name


def check_verdict(step: Mapping[str, Any], found: tuple[Any, ...]) -> None:
    from mrpc_service.policy.language import hash64

    wanted = step.get("verdict", "forward")
    if isinstance(wanted, str):
        assert found == (wanted,)
    elif "deny" in wanted:
        assert found[:2] == ("deny", STATUS_CODES[wanted["deny"]])
        assert wanted.get("says", "") in found[2].decode()
    elif "delay" in wanted:
        assert found == ("delay", duration_ns(wanted["delay"]))
    else:
        assert found[:2] == ("route", hash64(wanted["route"]))


def check_deeds(step: Mapping[str, Any], host: Script, message: Any) -> None:
    """What it asked of the daemon, where the step says so."""
    from mrpc_service.policy.language import key, to_bytes

    if "sets" in step:
        assert dict(host.did("set_metadata")) == {name.encode(): value.encode() for name, value in step["sets"].items()}
    if "fields" in step:
        assert host.did("set_field") == [(f"request.{name}", value.encode()) for name, value in step["fields"].items()]
    if "logs" in step:
        assert [text.decode() for text, in host.did("log")] == step["logs"]
    if "stores" in step:
        assert host.did("store") == [(0, duration_ns(step["stores"]["ttl"]), step["stores"]["bytes_max"])]
    elif "reply" in step:
        assert not host.did("store")
    if "asks" in step:
        assert host.did("answer") == [(0, to_bytes(key(*(getattr(message, name) for name in step["asks"]))))]
    if step.get("answer") == "none":
        assert not host.did("answer")
    if "verifies" in step:
        assert [text.decode() for text, *_ in host.did("token")] == [step["verifies"]]
