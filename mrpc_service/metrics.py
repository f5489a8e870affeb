"""The data plane's counters as Prometheus metrics. Read when asked for; nothing is counted twice or kept here."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer

from mrpc_service.chains.apply import ChainKeeper
from mrpc_service.chains.stats import PAUSE_BOUNDS_NS
from mrpc_service.dataplane_api import Dataplane
from mrpc_service.policy.leases import LeaseKeeper
from mrpc_service.status_codes import code_name

BUCKETS_MERGED = 4
EDGE = ("client", "server", "service", "method")


class DataplaneCollector:
    def __init__(self, dataplane: Dataplane, leases: LeaseKeeper, chains: ChainKeeper) -> None:
        self._dataplane, self._leases, self._chains = dataplane, leases, chains

    def collect(self) -> Iterator[Metric]:
        snapshot = self._dataplane.snapshot()
        yield from edge_metrics(snapshot["edges"])
        yield from policy_metrics(snapshot["edges"])
        yield from lease_metrics(self._leases)
        yield from apply_metrics(self._chains)
        yield from attachment_metrics(snapshot["attachments"])
        yield peer_metric(snapshot["peers"])
        yield wire_metric(snapshot["transport"])
        yield gauge("mrpc_chain_epoch", "Number of the policy chains in force.", snapshot["epoch"])
        yield gauge("mrpc_uptime_seconds", "Since the data plane started.", snapshot["uptime_ns"] / 1e9)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def edge_metrics(edges: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    calls = CounterMetricFamily("mrpc_calls", "Finished calls, by gRPC status code.", labels=[*EDGE, "code"])
    latency = HistogramMetricFamily("mrpc_call_latency_seconds", "From intake to status, in the daemon.", labels=EDGE)
    open_calls = GaugeMetricFamily("mrpc_open_calls", "Calls under way.", labels=EDGE)
    request_bytes = CounterMetricFamily("mrpc_request_bytes", "Bytes of request messages.", labels=EDGE)
    reply_bytes = CounterMetricFamily("mrpc_reply_bytes", "Bytes of reply messages.", labels=EDGE)
    denied = CounterMetricFamily("mrpc_calls_denied", "Calls that a policy denied.", labels=EDGE)
    for edge in edges:
        labels = [edge[part] for part in EDGE]
        for code, count in edge["codes"].items():
            calls.add_metric([*labels, code_name(code)], count)
        latency.add_metric(labels, cumulative_buckets(edge["latency"]), edge["latency"]["sum_ns"] / 1e9)
        open_calls.add_metric(labels, edge["in_flight"])
        request_bytes.add_metric(labels, edge["request_bytes"])
        reply_bytes.add_metric(labels, edge["reply_bytes"])
        denied.add_metric(labels, edge["denied"])
    yield from (calls, latency, open_calls, request_bytes, reply_bytes, denied)


def cumulative_buckets(latency: dict[str, Any]) -> list[tuple[str, int]]:
    """Prometheus' buckets: each counts all samples up to its bound, in seconds; the last is +Inf.

    One for every power of two, where the data plane has four: each bucket of each edge is a series of its own."""
    buckets, total = [], 0
    for index, (bound, count) in enumerate(zip(latency["bounds_ns"], latency["counts"], strict=True)):
        total += count
        if index % BUCKETS_MERGED == 0 and index + 1 < len(latency["counts"]):
            buckets.append((repr(bound / 1e9), total))
    return [*buckets, ("+Inf", total)]


POLICY_COUNTERS = (
    ("mrpc_policy_evaluations", "Messages that a policy judged.", "evaluations", 1.0),
    ("mrpc_policy_denied", "Calls that a policy denied.", "denied", 1.0),
    ("mrpc_policy_faults", "Evaluations that came to something that cannot be computed.", "faults", 1.0),
    ("mrpc_policy_seconds", "Time in a policy's code.", "ns_total", 1e9),
    ("mrpc_policy_state_evictions", "Rows of state that went for others.", "evicted", 1.0),
)


def policy_metrics(edges: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    # A policy counts by route (client, service, method), and each edge of the route, one for each server, shows that count.
    by_route = {
        (edge["client"], edge["service"], edge["method"], policy["chain"], policy["policy"]): policy
        for edge in edges for policy in edge["policies"]
    }  # fmt: skip
    for name, text, field, unit in POLICY_COUNTERS:
        yield _by_policy(CounterMetricFamily(name, text, labels=["chain", "policy"]), by_route, field, unit)
    yield _by_policy(GaugeMetricFamily("mrpc_policy_state_rows", "Rows of state.", labels=["chain", "policy"]), by_route, "rows", 1.0)


def _by_policy(family: Any, by_route: dict[Any, dict[str, Any]], field: str, unit: float) -> Metric:
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for (_, _, _, chain, policy), counted in by_route.items():
        totals[chain, policy] += counted.get(field, 0)
    for labels, total in sorted(totals.items()):
        family.add_metric(labels, total / unit)
    return family


def lease_metrics(leases: LeaseKeeper) -> Iterator[Metric]:
    labels = ["chain", "policy", "lease"]
    taken = CounterMetricFamily("mrpc_policy_lease_taken", "Tokens of a shared budget that calls took here.", labels=labels)
    refused = CounterMetricFamily("mrpc_policy_lease_refused", "Tokens that calls wanted and did not get.", labels=labels)
    left = GaugeMetricFamily("mrpc_policy_lease_left", "Tokens leased and not used.", labels=labels)
    for found in leases.report():
        values = [found[part] for part in labels]
        taken.add_metric(values, found["taken"])
        refused.add_metric(values, found["refused"])
        left.add_metric(values, found["left"])
    shared = 0.0 if leases.error else 1.0
    yield from (taken, refused, left)
    yield gauge("mrpc_policy_store_reachable", "Whether shared budgets are shared now; 0: this daemon spends its own part.", shared)


def apply_metrics(chains: ChainKeeper) -> Iterator[Metric]:
    yield gauge("mrpc_policy_revision", "Of the policy chains in force; kept over restarts.", chains.revision)
    stats = chains.stats
    outcomes = CounterMetricFamily("mrpc_policy_applies", "Changes of the chains since the start.", labels=["outcome"])
    for outcome, count in stats.outcomes.items():
        outcomes.add_metric([outcome], count)
    bounds = [*(repr(bound / 1e9) for bound in PAUSE_BOUNDS_NS), "+Inf"]
    pauses = HistogramMetricFamily("mrpc_policy_apply_pause_seconds", "How long a shard stood still for a change.")
    pauses.add_metric([], list(zip(bounds, accumulate(stats.pause_counts), strict=True)), stats.pause_sum_ns / 1e9)
    yield from (outcomes, pauses)


def attachment_metrics(attachments: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    memory: dict[tuple[str, str], int] = defaultdict(int)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for attached in attachments:
        memory[attached["app"], "send"] += attached["send_bytes"]
        memory[attached["app"], "receive"] += attached["receive_committed_bytes"]
        counts[attached["app"], attached["role"]] += 1
    held = GaugeMetricFamily("mrpc_shared_memory_bytes", "Memory shared with an app.", labels=["app", "direction"])
    present = GaugeMetricFamily("mrpc_attachments", "Attachments of an app.", labels=["app", "role"])
    for labels, value in sorted(memory.items()):
        held.add_metric(labels, value)
    for labels, value in sorted(counts.items()):
        present.add_metric(labels, value)
    yield from (held, present)


def peer_metric(peers: Sequence[dict[str, Any]]) -> Metric:
    states: dict[str, int] = defaultdict(int)
    for peer in peers:
        states[peer["state"]] += 1
    family = GaugeMetricFamily("mrpc_peers", "Other daemons, by state of the connection.", labels=["state"])
    for state, count in sorted(states.items()):
        family.add_metric([state], count)
    return family


def wire_metric(transport: dict[str, int]) -> Metric:
    family = CounterMetricFamily("mrpc_wire_bytes", "To and from other daemons; 'saved': kept off the wire by compression.", labels=["kind"])
    for kind in ("in", "out", "saved"):
        family.add_metric([kind], transport[f"bytes_{kind}"])
    return family


def make_registry(dataplane: Dataplane, leases: LeaseKeeper, chains: ChainKeeper) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DataplaneCollector(dataplane, leases, chains))  # type: ignore[arg-type]
    return registry


def text(dataplane: Dataplane, leases: LeaseKeeper, chains: ChainKeeper) -> str:
    """All metrics in Prometheus' text format."""
    return generate_latest(make_registry(dataplane, leases, chains)).decode()


def serve(
    dataplane: Dataplane, leases: LeaseKeeper, chains: ChainKeeper, host: str, port: int, listener: socket.socket | None = None
) -> Any:
    """Serve /metrics over HTTP from a thread; returns the server, to be shut down. `listener`: a predecessor's socket. OSError."""
    registry = make_registry(dataplane, leases, chains)
    if listener is None:
        server, _ = start_http_server(port, host, registry=registry)
        return server
    server = ThreadingWSGIServer((host, port), QuietHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = host, port
    server.setup_environ()
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
