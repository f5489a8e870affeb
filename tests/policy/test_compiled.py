"""Compiled programs say what their source says."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from . import sample
from .fake_host import CALL, FakeHost
from .native_form import Compiled


def policy(body: str, members: str = "", imports: str = "PERMISSION_DENIED, Policy, deny") -> str:
    body = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    members = textwrap.indent(textwrap.dedent(members).strip(), " " * 4)
    return f"from mrpc_service.policy import {imports}\n\nclass P(Policy):\n{members}\n    def on_request(self, call, request):\n{body}\n"


def run(text: str, request: Any = None, host: FakeHost | None = None, call: dict[str, Any] | None = None, **config: Any) -> tuple[Any, ...]:
    compiled = Compiled(text, host or FakeHost(), config)
    return compiled.run("request", {**CALL, **(call or {})}, request if request is not None else sample.Request())


RATE_LIMIT = '''
"""Deny what comes too fast: a token bucket for each client."""
from mrpc_service.policy import RESOURCE_EXHAUSTED, Duration, Policy, Scope, deny, state


class RateLimit(Policy):
    rate_per_s: float = 1000.0
    burst: float = 2.0
    per: Scope = "client"

    tokens: float = state(per="per", initial="burst")
    filled_ns: int = state(per="per")

    def on_request(self, call, request):
        self.tokens = min(self.burst, self.tokens + (call.now_ns - self.filled_ns) * self.rate_per_s / 1e9)
        self.filled_ns = call.now_ns
        if self.tokens < 1.0:
            return deny(RESOURCE_EXHAUSTED, f"more than {self.rate_per_s} calls a second")
        self.tokens -= 1.0
'''


def test_the_documents_rate_limit() -> None:
    compiled = Compiled(RATE_LIMIT, FakeHost(), {"rate_per_s": 10.0})
    assert [compiled.run("request", CALL, sample.Request()) for _ in range(3)] == [
        ("forward",), ("forward",), ("deny", 8, b"more than 10.0 calls a second")]
    assert compiled.state == {"tokens": 0.0, "filled_ns": CALL["now_ns"]}
    assert compiled.run("request", {**CALL, "now_ns": CALL["now_ns"] + 100_000_000}, sample.Request()) == ("forward",)


def test_config_state_and_message_fields() -> None:
    text = policy("""
        self.seen += 1
        if request[self.field] in self.names and request.number >= self.least:
            return deny(PERMISSION_DENIED, f"{request.user.name} {self.seen} {request.ratio}")
        """, """
        field: Field
        names: list[str] = []
        least: int = 5
        seen: int = state(per="global", initial=10)
        """, "PERMISSION_DENIED, Field, Policy, deny, state")
    request = sample.Request(number=7, ratio=0.1, user=sample.Request().user.__class__(name="eve", address={"city": "Bonn"}))
    config = {"field": "user.address.city", "names": ["Ulm", "Bonn", "Aachen"]}
    assert run(text, request, **config) == ("deny", 7, b"eve 11 0.1")
    assert run(text, request, **{**config, "names": ["Ulm"]}) == ("forward",)
    assert run(text, sample.Request(number=7), **config) == ("forward",)
    assert run(text, request, **{**config, "least": 8}) == ("forward",)


@pytest.mark.parametrize(("expression", "fault"), [
    ("1 // request.number", "division"), ("1 % request.number", "division"), ("int(1 / request.number)", "division"),
    ("9223372036854775807 + request.number + 1", "overflow"), ("int(1e300 * (request.ratio + 1))", "overflow"),
    ("request.numbers[request.number]", "index"), ("len(request.words[-1])", "index"), ("request.items[3].count", "index"),
])
def test_faults_have_their_line(expression: str, fault: str) -> None:
    text = policy(f"if {expression} > 0:\n    return deny(PERMISSION_DENIED)")
    assert run(text) == ("fault", fault, 6)


def test_loops_run_out_of_fuel() -> None:
    text = policy("""
        n = 0
        for a in range(1000):
            for b in range(1000):
                n += 1
        """)
    assert run(text) == ("fault", "fuel", 8)


def test_python_floors() -> None:
    text = policy("return deny(PERMISSION_DENIED, f'{request.number // 3} {request.number % 3} {request.ratio // 0.5} {request.ratio % -0.3}')")
    for number, ratio in [(7, 2.2), (-7, -2.2), (-9, 0.0)]:
        expected = f"{number // 3} {number % 3} {ratio // 0.5} {ratio % -0.3}"
        assert run(text, sample.Request(number=number, ratio=ratio)) == ("deny", 7, expected.encode())
