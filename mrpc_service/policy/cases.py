"""Cases for a policy file: what calls come, and what the policy is to say. For `mrpc policy test FILE --cases CASES.yaml`.

    cases:
      - name: a burst passes, then the rate holds
        config: {requests_per_second: 10, burst: 2}
        steps:                                    # one instance of the policy sees them all
          - {request: {name: ann}}                # expects: forward
          - {wait: 50ms, client: shop, metadata: {region: eu}, request: {}, verdict: {deny: RESOURCE_EXHAUSTED, says: rate limit}}
          - {reply: {text: hello}, status: OK}
          - {end: OK, elapsed: 3ms}

Others: `verdict: {delay: 5ms}`, `{route: KEY}`, `reply`, `hold`, `{fault: division}`; `tenant`, `service`, `method`, `server`, `bytes`, `first`,
`last`; answers of the daemon: `random: [0.5]`, `answer: hit|lead|wait`, `take: true`, `token: {valid: true, subject: ann}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mrpc_service.policy.compiled_form import CompiledForm
from mrpc_service.policy.interpreter import Host, Interpreter
from mrpc_service.policy.language import STATUS_CODES, Token, hash64
from mrpc_service.policy.source import Source
from mrpc_service.policy.values import read_value

ANSWERS = {"hit": 1, "lead": 2, "wait": 3}
CODE_MAX = 16  # of a status
HOOKS = ("request", "reply", "end")
Form = Any  # Interpreter or CompiledForm, whose host is a ScriptedHost
START_NS = 10**18
CALL: dict[str, Any] = {
    "client": "client", "server": "server", "service": "package.Service", "method": "Method", "tenant": "client", "message_bytes": 64,
    "unix_ns": 1_700_000_000 * 10**9, "deadline_ns": 0, "denied": 0,
}
STEP_KEYS = {*CALL, *HOOKS, "wait", "metadata", "verdict", "status", "elapsed", "bytes", "first", "last", "random", "answer", "take", "token"}
NAMES = {code: name for name, code in STATUS_CODES.items()}


class CaseError(Exception):
    """The cases are wrong; the text says where."""


@dataclass(frozen=True)
class Outcome:
    case: str
    step: int  # from 1
    hook: str
    found: str     # by the program as Python
    compiled: str  # by its compiled form; "" where that is not run
    wanted: str
    ok: bool       # both are what is wanted


class ScriptedHost:
    """Answers as a step says."""

    def __init__(self) -> None:
        self.step: Mapping[str, Any] = {}
        self.drawn = 0

    def begin(self, step: Mapping[str, Any]) -> None:
        self.step, self.drawn = step, 0

    def metadata(self, key: bytes) -> bytes | None:
        value = self.step.get("metadata", {}).get(key.decode())
        return None if value is None else str(value).encode()

    def set_metadata(self, key: bytes, value: bytes) -> bool:
        return key.startswith(b"mrpc-")

    def set_field(self, path: str, value: bytes | float | int) -> bool:
        return False

    def random(self) -> int:
        draws = self.step.get("random", [0.5])
        self.drawn += 1
        return int(float(draws[(self.drawn - 1) % len(draws)]) * (1 << 64))

    def log(self, text: bytes) -> None:
        pass

    def answer(self, store: int, key: bytes) -> int:
        return ANSWERS[self.step.get("answer", "lead")]

    def store(self, store: int, ttl_ns: int, bytes_max: int) -> None:
        pass

    def take(self, lease: int, want: float) -> bool:
        return bool(self.step.get("take", True))

    def token(self, text: bytes, audience: bytes, issuer: bytes, leeway_ns: int) -> Token:
        return Token(**self.step.get("token", {"valid": False, "problem": "no token in the case"}))


@dataclass(frozen=True)
class Case:
    name: str
    config: Mapping[str, Any]
    steps: list[dict[str, Any]]


def read_cases(content: Any, config: Mapping[str, Any]) -> list[Case]:
    """`config` goes over that of each case. CaseError."""
    if not isinstance(content, dict) or not isinstance(content.get("cases"), list):
        shape = "cases: [{name: too long, steps: [{request: {name: bobby}, verdict: {deny: INVALID_ARGUMENT}}]}]"
        raise CaseError(f"a file of cases is one list, as {shape}")
    found = []
    for number, case in enumerate(content["cases"], 1):
        name = str(case.get("name", number)) if isinstance(case, dict) else str(number)
        try:
            found.append(Case(name, {**case.get("config", {}), **config}, list(case["steps"])))
        except (KeyError, TypeError, AttributeError) as error:
            raise CaseError(f"case {name!r}: {type(error).__name__}: {error}") from None
    return found


def play(source: Source, case: Case, make: Callable[[str, Mapping[str, Any]], Any],
         compile_for: Callable[[Host], CompiledForm] | None = None) -> Iterator[Outcome]:
    """Play a case to an instance of its own, and to its compiled form if there is one.

    `make(hook, fields)` gives a message of google.protobuf. CaseError, ValueError."""
    forms: list[Form] = [Interpreter(source, case.config, ScriptedHost())]
    if compile_for is not None:
        forms.append(compile_for(ScriptedHost()))
    try:
        yield from _play(forms, case.name, case.steps, make)
    except (KeyError, TypeError, AttributeError) as error:
        raise CaseError(f"case {case.name!r}: {type(error).__name__}: {error}") from None


def _play(forms: list[Form], name: str, steps: list[dict[str, Any]], make: Callable[[str, Mapping[str, Any]], Any]) -> Iterator[Outcome]:
    hooks = forms[0].declared.hooks
    now_ns = START_NS
    for number, step in enumerate(steps, 1):
        unknown = step.keys() - STEP_KEYS
        if unknown:
            raise CaseError(f"case {name!r}, step {number}: {', '.join(sorted(unknown))} means nothing here")
        hook = next((each for each in HOOKS if each in step), None)
        if hook is None:
            raise CaseError(f"case {name!r}, step {number}: there is none of {', '.join(HOOKS)}")
        now_ns += _ns(step.get("wait", 0))
        wanted, call = step.get("verdict", "forward"), _call(step, hook, now_ns)
        found = []
        for form in forms:
            form.host.begin(step)
            message = make(hook, step[hook] or {}) if hook != "end" else None
            found.append(form.run(hook, call, message) if hook in hooks else ("forward",))
        told = [verdict_text(each) for each in found]
        yield Outcome(name, number, hook, told[0], "".join(told[1:]), _wanted_text(wanted), all(_agrees(wanted, each) for each in found))


def _ns(value: Any) -> int:
    return int(read_value("Duration", value))


def _call(step: Mapping[str, Any], hook: str, now_ns: int) -> dict[str, Any]:
    call = {**CALL, **{key: value for key, value in step.items() if key in CALL}}
    call["tenant"] = step.get("tenant", call["client"])
    call["message_bytes"] = step.get("bytes", call["message_bytes"])
    status = STATUS_CODES[step["end"] if hook == "end" else step.get("status", "OK")]
    return call | {"now_ns": now_ns, "started_ns": now_ns - _ns(step.get("elapsed", 0)), "status": status,
                   "first": int(step.get("first", True)), "last": int(step.get("last", True))}


def status_of(code: int) -> int:
    """As the data plane takes a computed code."""
    return code if 1 <= code <= CODE_MAX else STATUS_CODES["UNKNOWN"]


def verdict_text(found: tuple[Any, ...]) -> str:
    if found[0] == "deny":
        return f"deny {NAMES[status_of(found[1])]}: {found[2].decode(errors='replace')}"
    if found[0] == "fault":
        return f"fault {found[1]}, line {found[2]}"
    return " ".join(each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in found).strip()


def _wanted_text(wanted: Any) -> str:
    return wanted if isinstance(wanted, str) else ", ".join(f"{key} {value}" for key, value in wanted.items())


def _agrees(wanted: Any, found: tuple[Any, ...]) -> bool:
    if isinstance(wanted, str):
        return found[0] == wanted
    if "deny" in wanted:
        denied = found[0] == "deny" and status_of(found[1]) == STATUS_CODES[wanted["deny"]]
        return denied and wanted.get("says", "") in found[2].decode(errors="replace")
    if "delay" in wanted:
        return found == ("delay", _ns(wanted["delay"]))
    if "fault" in wanted:
        return found[:2] == ("fault", wanted["fault"])
    return found[:2] == ("route", hash64(wanted["route"]))
