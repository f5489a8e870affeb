"""What is wrong with a policy program: file, line, reason and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    file: str
    line: int    # from 1; 0: the file as a whole
    column: int  # from 1; 0: the line as a whole
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.reason}" + (f" (hint: {self.hint})" if self.hint else "")


class PolicyError(Exception):
    """A program is refused; `problems` says why, one line each."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(each) for each in self.problems]

    @staticmethod
    def from_json(problems: list[dict[str, Any]]) -> PolicyError:
        return PolicyError(Problem(**each) for each in problems)


def near_miss(name: str, names: Iterable[str], what: str = "there is") -> str:
    """A hint for a name that is not known: what it looks like, or what there is."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"{what}: {listed}" if known else f"{what} none"
