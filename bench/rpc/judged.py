"""Whether policies were on: how many calls each judged, as the daemon or the proxy counted, beside the calls that passed there."""

from __future__ import annotations

from collections import Counter

from bench.common import envoy
from bench.rpc.costs import ask_daemon
from bench.rpc.measures import Bench
from bench.rpc.systems import JUDGE, Deployment

CALLS = "calls"


def count(deployment: Deployment) -> dict[str, int]:
    """Calls so far, and those that each policy judged, by its kind. Empty where nothing judges. Raises OSError."""
    if deployment.system == "mrpc":
        return _by_daemon(deployment)
    if JUDGE in deployment.admins:
        found = envoy.counters(deployment.admins[JUDGE])
        return {CALLS: found.get(envoy.CALLS, 0), **envoy.judged(found)}
    return {}


def _by_daemon(deployment: Deployment) -> dict[str, int]:
    found: Counter[str] = Counter()
    for edge in ask_daemon(deployment, "edges"):
        found[CALLS] += edge["calls"]
        for policy in edge["policies"]:
            found[policy["use"]] += policy["evaluations"]
    return dict(found)


def whole_run(bench: Bench) -> None:
    """Rows of the counters as they stand, and of connections: proxies that dial anew for a call would be slow for a wrong reason."""
    bench.step("policies")
    for name, deployment in bench.systems.items():
        for what, calls in count(deployment).items():
            bench.report.add("policies, whole run", name, what if what == CALLS else f"judged by {what}", "calls", [calls])
        for proxy, at in deployment.admins.items():
            made = envoy.counters(at).get(envoy.CONNECTIONS, 0)
            bench.report.add("policies, whole run", name, f"connections that {proxy} made", "", [made])
