"""Whether policies were on in this benchmark's systems, by their own counters."""

from __future__ import annotations

from collections import Counter

from bench.common import envoy, judged
from bench.rpc.measures import Bench
from bench.rpc.systems import JUDGE, Deployment


def count(deployment: Deployment) -> Counter[str]:
    """Calls so far, and those that each policy judged, by its kind. Empty where nothing judges. Raises OSError."""
    if deployment.runtime_dir:
        return judged.by_daemon(deployment.runtime_dir)
    return judged.by_proxies([deployment.admins[JUDGE]] if JUDGE in deployment.admins else [])


def whole_run(bench: Bench, work: str = judged.WORK) -> None:
    """Rows of the counters as they stand, and of connections: proxies that dial anew for a call would be slow for a wrong reason."""
    bench.step("policies")
    for name, deployment in bench.systems.items():
        judged.add(bench.report, name, count(deployment), work)
        for proxy, at in deployment.admins.items():
            made = envoy.counters(at).get(envoy.CONNECTIONS, 0)
            bench.report.add(work, name, f"connections that {proxy} made", "", [made])
