"""Hooks other than on_request, state that moves, stores, leases, tokens, metadata: in both forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mrpc_service.policy.interpreter import Interpreter
from mrpc_service.policy.language import Token
from mrpc_service.policy.source import parse

from . import sample
from .fake_host import CALL, FakeHost
from .native_form import Compiled

NAMES = "INTERNAL, OK, UNAUTHENTICATED, Duration, Fields, Keys, Lease, Policy, Replies, Scope, deny, key, lease, log, replies, state, verify_token"
HEAD = f"from mrpc_service.policy import {NAMES}\n"


def both(text: str, config: dict[str, Any] | None = None, **answers: Any) -> list[tuple[Any, FakeHost]]:
    hosts = [FakeHost(**answers), FakeHost(**answers)]
    return [(Compiled(HEAD + text, hosts[0], config), hosts[0]), (Interpreter(parse(HEAD + text, "p.py"), config or {}, hosts[1]), hosts[1])]


CACHE = '''
class Cache(Policy):
    fields: Fields = ["user.name", "number"]
    ttl: Duration = "1s"
    kept: Replies = replies(per="tenant")

    def on_request(self, call, request):
        wanted = key()
        for field in self.fields:
            wanted = wanted + key(request[field])
        return self.kept.answer(wanted)

    def on_reply(self, call, reply):
        if call.status == OK and reply.number > 0:
            self.kept.store(self.ttl, 1000)
'''


@pytest.mark.parametrize(("answer", "verdict"), [(1, "reply"), (2, "forward"), (3, "hold")])
def test_stored_replies(answer: int, verdict: str) -> None:
    for form, host in both(CACHE, answers=answer):
        assert form.run("request", CALL, sample.Request(number=5, user={"name": "é"})) == (verdict,)
        assert host.done == [("answer", 0, b"t\x02\0\0\0\xc3\xa9i\x05\0\0\0\0\0\0\0")]
        assert form.run("reply", CALL, sample.Reply()) == ("forward",)
        assert form.run("reply", CALL, sample.Reply(number=1)) == ("forward",)
        assert host.done[1:] == [("store", 0, 1_000_000_000, 1000)]


def test_end_and_state() -> None:
    text = '''
class Limit(Policy):
    running: int = state(per="server")
    slow: bool = state(per="server")

    def on_request(self, call, request):
        self.running += 1

    def on_end(self, call):
        self.running -= 1
        self.slow = call.elapsed_ns > 10 and not call.denied and call.status != OK
'''
    for form, _ in both(text):
        form.run("request", CALL, sample.Request())
        form.run("request", CALL, sample.Request())
        assert form.run("end", {**CALL, "status": 4}) == ("forward",)
        assert form.state == {"running": 1, "slow": True}


def test_leases() -> None:
    text = '''
class Global(Policy):
    rate: float = 5.0
    burst: float = 10.0
    share: float = 0.5
    budget: Lease = lease(rate="rate", burst="burst", share="share")

    def on_request(self, call, request):
        if not self.budget.take(2):
            return deny(INTERNAL, "spent")
'''
    for grants in (True, False):
        for form, host in both(text, grants=grants):
            assert form.run("request", CALL, sample.Request()) == (("forward",) if grants else ("deny", 13, b"spent"))
            assert host.done == [("take", 0, 2.0)]


def test_tokens_and_metadata() -> None:
    text = '''
class Check(Policy):
    keys: Keys
    audience: str = "shop"
    leeway: Duration = "2s"

    def on_request(self, call, request):
        token = verify_token(call.metadata.get("authorization"), self.keys, audience=self.audience, leeway_ns=self.leeway)
        if not token.valid:
            return deny(UNAUTHENTICATED, token.problem)
        call.set_metadata("subject", token.subject)
        if token.expires_unix_s < call.unix_s:
            call.set_metadata("mrpc-app", "forged")
'''
    asked = ("token", b"Bearer x", b"shop", b"", 2_000_000_000)
    for form, host in both(text, {"keys": "{}"}, given={b"authorization": b"Bearer x"}):
        assert form.run("request", CALL, sample.Request()) == ("deny", 16, b"no token")
        host.verified = Token(True, "", "eve", "me", 1)
        assert form.run("request", CALL, sample.Request()) == ("fault", "host", 14)
        assert host.done == [asked, asked, ("set_metadata", b"subject", b"eve"), ("set_metadata", b"mrpc-app", b"forged")]


def test_a_denials_text_is_cut_before_a_character() -> None:
    text = "class P(Policy):\n    def on_request(self, call, request):\n        return deny(INTERNAL, request.text)\n"
    for form, _ in both(text):
        assert form.run("request", CALL, sample.Request(text="a" + "é" * 200)) == ("deny", 13, ("a" + "é" * 127).encode())


def test_texts_are_bounded() -> None:
    text = "class P(Policy):\n    def on_request(self, call, request):\n        x = 'a'\n        for i in range(20):\n            x = x + x\n"
    for form, _ in both(text):
        assert form.run("request", CALL, sample.Request()) == ("fault", "text", 6)


def test_long_texts_cost_steps() -> None:
    text = "class P(Policy):\n    def on_request(self, call, request):\n        if request.text in request.user.name:\n            log('in')\n"
    for form, _ in both(text):
        big = sample.Request(text="a" * 5000 + "b", user={"name": "a" * 100_000})
        assert form.run("request", CALL, big) == ("fault", "fuel", 4)


BEFORE = "class P(Policy):\n    tokens: float = state(per='client', initial=6.0)\n    def on_request(self, call, request):\n        pass\n"
AFTER = '''
class P(Policy):
    burst: float = 4.0
    level: float = state(per='client')
    seen: int = state(per='global', initial=3)

    def on_request(self, call, request):
        self.seen += 1

    def upgrade(self, old):
        self.level = self.scaled(old.tokens)
        self.seen = 9

    def scaled(self, tokens):
        return tokens / self.burst + self.seen
'''


def test_upgrade_computes_new_state_from_old() -> None:
    previous = Compiled(HEAD + BEFORE, FakeHost()).spec
    form = Compiled(HEAD + AFTER, FakeHost(), previous=previous)
    assert form.spec["hooks"] == ["request", "upgrade"]
    assert form.spec["old"] == [{"scope": ["client"], "name": "tokens", "type": "float"}]
    assert form.run("upgrade", CALL, old=[{"tokens": 6.0}, None]) == ("forward",)
    assert form.state == {"level": 1.5, "seen": 3}  # the client's row alone was at hand
    interpreted = Interpreter(parse(HEAD + AFTER, "p.py"), {}, FakeHost())
    assert interpreted.upgrade(CALL, {"tokens": 6.0}) == ("forward",)
    assert interpreted.state["level"] == 4.5


def test_upgrade_is_left_out_where_there_is_nothing_to_upgrade() -> None:
    assert Compiled(HEAD + AFTER, FakeHost()).spec["hooks"] == ["request"]
    same = Compiled(HEAD + AFTER, FakeHost()).spec
    assert Compiled(HEAD + AFTER, FakeHost(), previous=same).spec["hooks"] == ["request"]


LIBRARY = sorted(path for path in (Path(__file__).parents[2] / "policies").glob("*.py"))
CONFIG: dict[str, dict[str, Any]] = {
    "access_control": {"field": "user.name"}, "cache": {"keys": ["user.name"]}, "field_mutation": {"field": "text", "value": "x"},
    "global_rate_limit": {"requests_per_second": 5.0}, "rate_limit": {"requests_per_second": 5.0}, "sticky_key": {"field": "number"},
    "token_check": {"keys": "{}"},
}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_in_both_forms(path: Path) -> None:
    hosts = [FakeHost(), FakeHost()]
    config = CONFIG.get(path.stem, {})
    compiled = Compiled(path.read_text(), hosts[0], config)
    interpreted = Interpreter(parse(path.read_text(), path.name), config, hosts[1])
    for number in range(5):
        request = sample.Request(number=number, user={"name": "eve"})
        for hook, message in (("request", request), ("reply", sample.Reply(number=number)), ("end", None)):
            if hook in compiled.spec["hooks"]:
                call = {**CALL, "now_ns": CALL["now_ns"] + number * 1000}
                assert compiled.run(hook, call, message) == interpreted.run(hook, call, message)
    assert hosts[0].done == hosts[1].done
    assert {**compiled.state, **interpreted.state} == compiled.state
