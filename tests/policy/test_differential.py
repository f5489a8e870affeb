"""The compiled form and the interpreted form agree, on random programs and random messages."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.interpreter import Interpreter
from mrpc_service.policy.source import parse

from . import programs
from .fake_host import CALL, FakeHost
from .native_form import Compiled

CONSTANT_FAULTS = ("cannot be computed", "64 bits", "no status")  # which the compiler sees before any call comes
EXAMPLES = int(os.environ.get("MRPC_FUZZ_EXAMPLES", "0"))
SETTINGS = settings(max_examples=EXAMPLES or 30, derandomize=not EXAMPLES, database=None,
                    suppress_health_check=list(HealthCheck))


def outcomes(text: str, requests: list[Any], given_metadata: dict[bytes, bytes]) -> tuple[list[Any], list[Any]]:
    """What both forms said, did, and kept, call after call."""
    hosts = [FakeHost(given=dict(given_metadata), randoms=[1 << 60, 1 << 63, (1 << 64) - 1]) for _ in range(2)]
    compiled = Compiled(text, hosts[0], {})
    interpreted = Interpreter(parse(text, "fuzzed.py"), {}, hosts[1])
    said: tuple[list[Any], list[Any]] = ([], [])
    for number, request in enumerate(requests):
        call = {**CALL, "now_ns": CALL["now_ns"] + number, "deadline_ns": number and CALL["now_ns"] + 100}
        for form, out, host in ((compiled, said[0], hosts[0]), (interpreted, said[1], hosts[1])):
            out.append((form.run("request", call, copy.deepcopy(request)), list(host.done), known(form)))
    return said


def known(form: Any) -> list[tuple[str, str]]:
    """State; as text, so that a NaN is equal to a NaN. What the interpreted form has not touched has its initial value."""
    initial = {"count": 10, "level": 0.5, "open": False}
    return sorted((name, repr(value)) for name, value in {**initial, **form.state}.items())


@SETTINGS
@given(st.integers(0, 1 << 32), st.lists(programs.requests(), min_size=1, max_size=6),
       st.dictionaries(st.sampled_from([b"who", b"a"]), st.binary(max_size=8)))
def test_both_forms_agree(seed: int, requests: list[Any], metadata: dict[bytes, bytes]) -> None:
    text = programs.Maker(seed).program()
    try:
        compiled, interpreted = outcomes(text, requests, metadata)
    except PolicyError as error:
        assert any(each in str(error) for each in CONSTANT_FAULTS), f"{error}\n{text}"
        return
    for native, python in zip(compiled, interpreted, strict=True):
        assert repr(native) == repr(python), text
