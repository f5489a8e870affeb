"""What bench.upgrade makes of what it saw."""

from __future__ import annotations

from bench.upgrade.__main__ import Found, claims, p99
from bench.upgrade.mesh import faults

SEEN = {"calls": 3, "failed": 0, "wrong": 0, "errors": [], "worst_ms": 1.0, "last": {"a/0": 3}}
SERVER = {"calls": 3, "lost": 0, "doubled": 0, "held": 0, "last": {"a/0": 3}}


def test_nothing_wrong_is_no_fault() -> None:
    assert faults([SEEN], SERVER) == []


def test_every_fault_is_told() -> None:
    assert faults([{**SEEN, "errors": ["UNAVAILABLE: gone"]}], SERVER) == ["a caller's call failed: UNAVAILABLE: gone"]
    assert faults([{**SEEN, "wrong": 2}], SERVER) == ["2 replies were not those of their calls"]
    assert faults([SEEN], {**SERVER, "lost": 1, "doubled": 2}) == ["1 calls were lost", "2 calls were doubled"]
    assert faults([SEEN], {**SERVER, "last": {"a/0": 2}}) == ["a/0 made 3 calls, the server saw 2"]


def test_p99() -> None:
    assert p99([5.0]) == 5.0
    assert p99([float(i) for i in range(1, 101)]) == 99.0
    assert p99([float(i) for i in range(1, 201)]) == 198.0


def test_claims_stay_unmeasured_when_restarts_are_missing() -> None:
    short, whole = Found(0, 3, [10.0]), Found(0, 10, [10.0])
    assert [claim.met for claim in claims(whole, 10)] == [True, True]
    assert claims(short, 10)[0].measured is None
    assert claims(Found(1, 3, []), 10)[0].measured == 1
    assert [claim.id for claim in claims(short, 10)] == ["upgrade.failed", "upgrade.pause_p99_ms"]
