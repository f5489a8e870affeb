"""Whether policies were on: how many calls each judged, as the daemon or the proxies counted, beside the calls that passed there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.common import daemon, envoy
from bench.common.report import Report

WORK = "policies, whole run"
CALLS = "calls"


def by_daemon(runtime_dir: Path) -> Counter[str]:
    """Calls so far of all edges, and those that each kind of policy judged."""
    found: Counter[str] = Counter()
    for edge in daemon.ask(runtime_dir, "edges"):
        found[CALLS] += edge["calls"]
        for policy in edge["policies"]:
            found[policy["use"]] += policy["evaluations"]
    return found


def by_proxies(admins: Iterable[Path]) -> Counter[str]:
    """The same of Envoys together, of what came in, by their admin sockets. Raises OSError."""
    found: Counter[str] = Counter()
    for admin in admins:
        counters = envoy.counters(admin)
        found += Counter({CALLS: counters.get(envoy.CALLS, 0), **envoy.judged(counters)})
    return found


def add(report: Report, system: str, found: Counter[str], work: str = WORK) -> None:
    for what, calls in found.items():
        report.add(work, system, what if what == CALLS else f"judged by {what}", "calls", [calls])
