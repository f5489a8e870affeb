"""What a soak measured, and what must hold of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.soak.kinds import EXPECTED, TOLERATED

MIB = 1 << 20
RSS_GROWTH_BYTES_MAX = 16 * MIB  # malloc arenas of new threads come late; a leak per call is many times that in a full run


@dataclass(frozen=True)
class Reading:
    """The daemon after a round, when every application has gone."""

    rss_bytes: int  # private memory
    shm_bytes: int  # memory shared with applications
    fds: int
    open_calls: int


@dataclass(frozen=True)
class Account:
    """What the daemon counted for one calling application."""

    begun: int
    ended: Counter[str]  # by code
    in_flight: int


@dataclass(frozen=True)
class Check:
    name: str
    held: bool
    detail: str


def judge(tally: Counter[str], steady: Account, mortal: Account, readings: list[Reading]) -> list[Check]:
    """`tally` is the sum of the steady clients'; the clients that were killed kept none. The first reading is the baseline."""
    return [*judge_clients(tally), *judge_account(tally, steady, mortal), *judge_slopes(readings)]


def judge_clients(tally: Counter[str]) -> list[Check]:
    outcomes = Counter({name: count for name, count in tally.items() if name != "sent"})
    answered = sum(count for name, count in outcomes.items() if name.endswith(" OK"))
    failed = outcomes.total() - answered
    missing = [kind for kind, code in EXPECTED.items() if not outcomes[f"{kind} {code}"]]
    strange = {name: count for name, count in outcomes.items() if not expected(name)}
    return [
        Check("sent = answered + failed", tally["sent"] == answered + failed, f"{tally['sent']} = {answered} + {failed}"),
        Check("every kind of call came to its end", not missing, f"never seen: {missing}" if missing else f"{len(EXPECTED)} kinds"),
        Check("no other outcome", not strange, f"{strange}" if strange else f"{TOLERATED}: {unavailable(outcomes)}"),
    ]


def expected(outcome: str) -> bool:
    """A call that is cancelled or runs out of time may be overtaken by the other, by its server's death, or never be sent."""
    kind, code = outcome.split()
    return code in (EXPECTED[kind], TOLERATED)


def unavailable(outcomes: Counter[str]) -> int:
    return sum(count for name, count in outcomes.items() if name.endswith(" " + TOLERATED))


def judge_account(tally: Counter[str], steady: Account, mortal: Account) -> list[Check]:
    answered = sum(count for name, count in tally.items() if name.endswith(" OK"))
    denied = tally["denied PERMISSION_DENIED"]
    checks = [
        Check(f"daemon, {name}: begun = ended", account.begun == account.ended.total() and not account.in_flight,
              f"{account.begun} = {account.ended.total()}, {account.in_flight} in flight")
        for name, account in (("steady", steady), ("mortal", mortal))
    ]  # fmt: skip
    return [
        *checks,
        Check("daemon began no call twice", steady.begun <= tally["sent"], f"{steady.begun} of {tally['sent']} sent"),
        Check("daemon answered what clients saw", steady.ended["OK"] == answered, f"{steady.ended['OK']} = {answered}"),
        Check("every denial reached its caller", steady.ended["PERMISSION_DENIED"] == denied,
              f"{steady.ended['PERMISSION_DENIED']} = {denied}"),
    ]  # fmt: skip


def judge_slopes(readings: list[Reading]) -> list[Check]:
    first, last = readings[0], readings[-1]
    # An allocator's memory goes up and down by some MiB; a leak shows in every round of the second half.
    later = min(reading.rss_bytes for reading in readings[len(readings) // 2 :])
    return [
        Check("daemon's memory", later - first.rss_bytes <= RSS_GROWTH_BYTES_MAX, f"{first.rss_bytes / MIB:.1f} -> {later / MIB:.1f} MiB"),
        Check("daemon's descriptors", last.fds <= first.fds, f"{first.fds} -> {last.fds}"),
        Check("shared memory", last.shm_bytes == 0, f"{last.shm_bytes / MIB:.1f} MiB"),
        Check("open calls", last.open_calls == 0, f"{last.open_calls}"),
    ]
