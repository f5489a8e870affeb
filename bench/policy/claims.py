"""What the project promises of policies: each number one claim with a stable id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.common.report import Claim, Report
from bench.policy import costs, limits, qos, swaps
from tools.policy_table import lines_of

POLICIES = Path(__file__).parents[2] / "policies"
LINES_MAX = 28
SWAP_FAULTS = ("failed", "lost", "duplicated", "out of order", "wrong replies", "not judged exactly once")


def make(report: Report) -> list[Claim]:
    """All claims, measured where `report` has the rows."""
    return [*_costs(report), *_swaps(report), *_others(report)]


def worst(values: list[float | None]) -> float | None:
    """The greatest; None when one is missing."""
    return None if None in values else max(value for value in values if value is not None)


def short_share() -> float:
    """Percent of policies whose programs have at most LINES_MAX lines."""
    lines = [lines_of(path) for path in POLICIES.glob("*.py")]
    return 100 * sum(each <= LINES_MAX for each in lines) / len(lines)


def _costs(report: Report) -> Iterator[Claim]:
    simple = [report.find(f"policy {name}", "mrpc", "in the datapath") for name in costs.SIMPLE]
    yield Claim("policy.simple_ns", f"ns per call in the datapath, the slowest of {', '.join(costs.SIMPLE)}", "<= 150", worst(simple))
    yield Claim("policy.chain10_ns", "ns per call in the datapath of a chain of ten policies", "<= 1500",
                report.find(costs.CHAIN, "mrpc", "in the datapath"))
    yield Claim("policy.lines", f"% of the policies of the library that have at most {LINES_MAX} lines", ">= 80", short_share())


def _swaps(report: Report) -> Iterator[Claim]:
    faults = [report.find(swaps.WORK, "mrpc", name) for name in SWAP_FAULTS]
    total = None if None in faults else sum(value for value in faults if value is not None)
    yield Claim("policy.swaps", "calls failed, lost, duplicated, out of order, answered wrong or not judged exactly once, over all swaps under load, "
                "local and over TCP, with 8 MiB calls in flight", "<= 0", total)
    yield Claim("policy.swap_pause", "us that a shard stands still for a swap, p99", "<= 100", report.find(swaps.WORK, "mrpc", "pause p99"))
    yield Claim("policy.swap_ms", "ms of a swap after its compile, p50", "<= 5", report.find(swaps.WORK, "mrpc", "switch p50"))
    yield Claim("policy.compile_cold", "ms to compile the first program of a daemon, p50", "<= 1500", report.find(swaps.COLD, "mrpc", "p50"))
    yield Claim("policy.compile_warm", "ms to compile a program that is new, p50", "<= 200", report.find("compile, warm", "mrpc", "p50"))
    yield Claim("policy.swap_memory", "MiB that a daemon grows by over the last half of its distinct programs (1,000 in a full run, else 100)",
                "<= 1", report.find(swaps.MEMORY, "mrpc", "grown by, last half"))
    yield Claim("policy.rss", "MiB resident of a daemon with 20 policies and its compile helpers, shared memory left out", "<= 220",
                report.find(swaps.TWENTY, "mrpc", "daemon and helpers rss"))


def _others(report: Report) -> Iterator[Claim]:
    yield Claim("policy.global_limit", "% that three daemons together are off one budget", "<= 2",
                report.find(limits.WORK, "mrpc", "off its budget"))
    yield Claim("policy.local_share", "% that a daemon is off its stated share while the store is away, the worst of three", "<= 5",
                report.find(f"{limits.WORK}, store away", "mrpc", "off its share, the worst of three"))
    ratios = [report.find(f"qos, {load.title}", "priorities", "p99 over control's") for load in qos.OWN]
    yield Claim("policy.qos_p99", "p99 of small calls beside a bulk application with a server of its own, priorities on, over that of a control run; "
                "the worst size", "<= 1.5", worst(ratios))
