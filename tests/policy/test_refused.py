"""What is refused, with file, line, reason and a hint."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.front import inspect, translate
from mrpc_service.policy.source import SOURCE_BYTES_MAX, parse

from . import images, sample
from .test_compiled import policy

REQUEST, REPLY = images.message_layout(sample.Request.DESCRIPTOR), images.message_layout(sample.Reply.DESCRIPTOR)
BODY_LINE = 6  # of `policy`: the body's first line


def refuse(text: str, **config: Any) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        translate(parse(text, "p.py"), config, REQUEST, REPLY)
    first = caught.value.problems[0]
    assert first.file == "p.py"
    assert str(first).startswith("p.py")
    return caught.value


def refuse_body(body: str, members: str = "", imports: str = "PERMISSION_DENIED, Policy, deny, delay, state, random, log, key") -> tuple[int, str]:
    error = refuse(policy(body, members, imports))
    first = error.problems[0]
    return first.line - BODY_LINE + 1, f"{first.reason} | {first.hint}"


@pytest.mark.parametrize(("body", "reason"), [
    ("while True:\n    pass", "'while' may never end | use 'for"),
    ("try:\n    pass\nexcept Exception:\n    pass", "no exceptions"),
    ("x = [a for a in request.numbers]", "comprehensions"),
    ("x = lambda: 1", "'lambda'"),
    ("import os", "no import within"),
    ("with self:\n    pass", "'with'"),
    ("x = {1: 2}", "no dicts"),
    ("x = 1 if request is None else 2", "'is' is not"),
    ("x = 1 << 2", "bit operations"),
    ("global x", "'global'"),
    ("x = f'{request.ratio:.2f}'", "take no format"),
    ("del request.text", "'del'"),
    ("class X:\n    pass", "class within"),
    ("def f():\n    pass", "function within"),
    ("assert True", "'assert'"),
    ("x = request.text[1:2]", "slices"),
    ("return (yield 1)", "Yield is not in the language"),
    ("x = (y := 1)", "':=' is not"),
    ("open('/etc/passwd')", "no function 'open'"),
    ("__import__('os')", "no function '__import__'"),
    ("x = self.__class__", "self.__class__ is not declared"),
    ("x = request.__class__", "no field '__class__'"),
    ("x = call.__dict__", "call has no '__dict__'"),
])
def test_forbidden_constructs(body: str, reason: str) -> None:
    line, text = refuse_body(body)
    assert line == 1
    assert reason in text


@pytest.mark.parametrize(("body", "reason"), [
    ("for i in range(len(request.items)):\n    pass", "bound of a loop is not constant"),
    ("for i in range(request.number):\n    pass", "bound of a loop is not constant"),
    ("for c in request.text:\n    pass", "not bounded"),
    ("for i in range(10 ** 12):\n    pass", "range() of these numbers"),
])
def test_unbounded_loops(body: str, reason: str) -> None:
    assert refuse_body(body) == (1, refuse_body(body)[1])
    assert reason in refuse_body(body)[1]


def test_recursion() -> None:
    text = policy("x = self.f(1)") + "\n    def f(self, n):\n        return self.f(n - 1) if n > 0 else 0\n"
    error = refuse(text)
    assert "calls itself" in str(error)
    assert error.problems[0].line == BODY_LINE + 3


@pytest.mark.parametrize(("body", "reason"), [
    ("x = request.usr.name", "sample.Request has no field 'usr' | did you mean 'user'?"),
    ("x = request.user.nam", "sample.User has no field 'nam' | did you mean 'name'?"),
    ("x = request.user.qqq", "it has: address, age, name, roles, tier"),
    ("x = request.text + 1", "text + int cannot be computed | str(...)"),
    ("x = request.user.name > 5", "text > int cannot be compared"),
    ("x = request.text.city", "text has no attribute"),
    ("self.n = 'a'", "text is assigned to self.n, which is int"),
    ("self.n = 1.5", "float is assigned to self.n"),
    ("request.items = 1", "not a singular field"),
    ("request.left = 1", "one of a oneof"),
    ("request.right.name = 'x'", "not a singular field"),
    ("request.number = 'a'", "text is assigned to request.number, which is int"),
    ("request.labels['a'] = 'b'", "cannot be assigned to"),
    ("x = request.labels['a']", "a map cannot be indexed"),
    ("x = 1\nx = 'a'", "'x' is int in line 6, and text here"),
    ("if request.flag:\n    x = 1\nlog(str(x))", "'x' may have no value here"),
    ("return 5", "on_request returns int"),
    ("deny(PERMISSION_DENIED)", "not returned has no effect"),
    ("return deny(0)", "0 is no status"),
    ("x = call.status", "call.status is not known in on_request"),
    ("x = self.m", "self.m is not declared | declared are: n"),
    ("x = self.tokns", "self.tokns is not declared"),
    ("n = len(5)", "int has no length"),
    ("x = min(request.text, 'a')", "min(a, b) of numbers"),
    ("x = 1 // 0", "cannot be computed"),
    ("x = 9223372036854775807 + 1", "does not fit 64 bits"),
    ("x = 99999999999999999999", "does not fit 64 bits"),
    ("x = request.number ** request.number", "power that is not a constant"),
    ("x = undefined", "there is no 'undefined'"),
    ("x = route(key=1)", "'route' is not imported"),
    ("call.client = 'a'", "cannot be assigned to"),
    ("x = '\\ud800'", "not UTF-8"),
])
def test_types_and_fields(body: str, reason: str) -> None:
    line, text = refuse_body(body, "n: int = state(per='client')")
    assert reason in text
    assert line == body.count("\n") + 1 if not body.startswith("x = 1\n") else line == 2


@pytest.mark.parametrize(("members", "reason"), [
    ("n: int = state(per='clinet')", "there is no scope 'clinet' (hint: did you mean 'client'?)"),
    ("n: int = state(per='call', initial='x')", "is no int field"),
    ("n: str = state()", "state cannot be of type 'str'"),
    ("n: bytes = 1", "cannot be of type 'bytes'"),
    ("n: int = 'a'", "'a' is no int"),
    ("n: Duration = '5 parsecs'", "no duration"),
    ("n = 5", "without a type"),
    ("n: int = 1\n    n: int = 2", "declared twice"),
    ("n: Lease = lease(rate='a')", "names three fields"),
    ("on_fault = 'maybe'", "neither"),
    ("def on_reqest(self, call, request):\n        pass", "no hook 'on_reqest' (hint: did you mean 'on_request'?)"),
    ("__slots__ = []", "without a type"),
    ("; ".join(f"s{n}: int = state()" for n in range(17)), "more than 16 fields in one"),
    ("x: int = 10 ** 10 ** 10", "power"),
])
def test_declarations(members: str, reason: str) -> None:
    imports = "Policy, Duration, Lease, lease, state"
    text = f"from mrpc_service.policy import {imports}\n\nclass P(Policy):\n    {members}\n    def on_request(self, call, request):\n        pass\n"
    error = refuse(text)
    assert reason in str(error)
    assert error.problems[0].line in (4, 5)


@pytest.mark.parametrize(("text", "reason"), [
    ("class P(Policy:\n", "syntax error"),
    ("x = 1\n", "0 classes"),
    ("import os\n", "0 classes"),
    ("import os\nclass P(Policy):\n    pass\n", "something else than the language"),
    ("from os import system\nclass P(Policy):\n    pass\n", "import from 'os'"),
    ("from mrpc_service.policy import Policy, evil\nclass P(Policy):\n    pass\n", "no 'evil'"),
    ("from mrpc_service.policy import Policy\nclass P(Policy):\n    x: int = 1\n", "no hook"),
    ("from mrpc_service.policy import Policy\nclass P(Policy, metaclass=type):\n    pass\n", "not a subclass of Policy alone"),
    ("from mrpc_service.policy import Policy\nprint(1)\nclass P(Policy):\n    pass\n", "at the top of the file"),
    ("\0", "null bytes"),
    ("(" * 5000 + ")" * 5000, ""),
    ("x = " + "-" * 60000 + "1", ""),
    ("x = " + "[" * 90 + "]" * 90, "nested deeper"),
    ("x = " + "1+" * 9000 + "1", ""),
    ("x = '" + "a" * SOURCE_BYTES_MAX + "'", "longer than 64 KiB"),
    ("x = " + "9" * 5000, ""),
])
def test_hostile_files(text: str, reason: str) -> None:
    with pytest.raises(PolicyError) as caught:
        inspect(parse(text, "p.py"))
    assert reason in str(caught.value)


def test_undecodable_bytes() -> None:
    with pytest.raises(PolicyError, match="not UTF-8"):
        parse(b"\xff\xfe", "p.py")


def test_unknown_config_and_missing_fields() -> None:
    text = policy("x = request[self.field]", "field: Field", "Policy, Field, deny")
    assert "field is required" in str(refuse(text))
    assert "no field 'other'" in str(refuse(text, field="text", other=1))
    assert "no field's name" in str(refuse(text, field="a b"))
    assert "sample.Request has no field 'txt' (hint: did you mean 'text'?)" in str(refuse(text, field="txt"))


def test_a_reply_has_its_own_fields() -> None:
    text = textwrap.dedent('''
        from mrpc_service.policy import PERMISSION_DENIED, Policy, deny
        class P(Policy):
            def on_reply(self, call, reply):
                if reply.ratio > 0.5:
                    return deny(PERMISSION_DENIED)
        ''')
    assert "sample.Reply has no field 'ratio'" in str(refuse(text))


def test_many_faults_of_one_kind_are_told_together() -> None:
    error = refuse(policy("while True:\n    pass\nwhile False:\n    pass"))
    assert [each.line for each in error.problems] == [BODY_LINE, BODY_LINE + 2]


def test_unrolled_loops_are_bounded() -> None:
    body = "for a in self.fields:\n    for b in self.fields:\n        for c in self.fields:\n            log(f'{a} {b} {c}')"
    text = policy(body, "fields: Fields", "Policy, Fields, deny, log")
    assert "unrolled" in str(refuse(text, fields=[f"f{n}" for n in range(64)]))
