"""What a check found."""

from __future__ import annotations

from typing import NamedTuple

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"


class Finding(NamedTuple):
    result: str
    test: str  # what was tested
    text: str  # what was found
    mend: str = ""  # what to do about it; "" when nothing need be done


def passed(test: str, text: str) -> Finding:
    return Finding(PASS, test, text)


def warned(test: str, text: str, mend: str) -> Finding:
    return Finding(WARN, test, text, mend)


def failed(test: str, text: str, mend: str) -> Finding:
    return Finding(FAIL, test, text, mend)
