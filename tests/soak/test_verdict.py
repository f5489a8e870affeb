"""That a soak would notice: each thing that can go wrong, put into a run that went well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.soak.kinds import EXPECTED
from tests.soak.verdict import RSS_GROWTH_BYTES_MAX, Account, Reading, judge


class Run:
    """Ten calls of each kind, one of them UNAVAILABLE before it reached the daemon."""

    def __init__(self) -> None:
        self.tally = Counter({f"{kind} {code}": 10 for kind, code in EXPECTED.items()}) + Counter({"small UNAVAILABLE": 1, "sent": 61})
        self.steady = Account(60, Counter(OK=30, PERMISSION_DENIED=10, DEADLINE_EXCEEDED=10, CANCELLED=10), 0)
        self.mortal = Account(5, Counter(OK=4, CANCELLED=1), 0)
        self.readings = [Reading(50 << 20, 0, 18, 0)] * 3

    def failed(self) -> list[str]:
        return [check.name for check in judge(self.tally, self.steady, self.mortal, self.readings) if not check.held]

    def later(self, **fields: int) -> None:
        self.readings = [self.readings[0], *(replace(reading, **fields) for reading in self.readings[1:])]


def lose_a_call(run: Run) -> None:
    run.tally["sent"] += 1


def answer_wrongly(run: Run) -> None:
    run.tally.update({"small WRONG": 1, "sent": 1})


def call_twice(run: Run) -> None:
    run.steady = Account(62, run.steady.ended + Counter(CANCELLED=2), 0)


def answer_in_vain(run: Run) -> None:
    run.steady = Account(61, run.steady.ended + Counter(OK=1), 0)


def forget_to_end(run: Run) -> None:
    run.mortal = Account(6, run.mortal.ended, 1)


@pytest.mark.parametrize(
    "spoil, name",
    [
        (lose_a_call, "sent = answered + failed"),
        (answer_wrongly, "no other outcome"),
        (call_twice, "daemon began no call twice"),
        (answer_in_vain, "daemon answered what clients saw"),
        (forget_to_end, "daemon, mortal: begun = ended"),
        (lambda run: run.later(rss_bytes=(50 << 20) + RSS_GROWTH_BYTES_MAX + 1), "daemon's memory"),
        (lambda run: run.later(shm_bytes=4096), "shared memory"),
        (lambda run: run.later(fds=19), "daemon's descriptors"),
        (lambda run: run.later(open_calls=1), "open calls"),
    ],
)
def test_it_is_noticed(spoil: Callable[[Run], None], name: str) -> None:
    run = Run()
    assert run.failed() == []
    spoil(run)
    assert run.failed() == [name]
