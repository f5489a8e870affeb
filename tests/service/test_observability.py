"""Metrics, quantiles and the log ring, from values that are given."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mrpc_service import metrics
from mrpc_service.chains.stats import ChangeStats
from mrpc_service.latency import quantile_ns
from mrpc_service.logs import LINE_CHARACTERS_MAX, LogRing
from mrpc_service.policy.leases import LeaseKeeper

SNAPSHOT: dict[str, Any] = {
    "node": "a", "uptime_ns": 2_000_000_000, "epoch": 3, "services": [], "shards": [],
    "transport": {"bytes_in": 5, "bytes_out": 6, "bytes_saved": 7},
    "attachments": [
        {"id": 1, "app": "front", "principal": "uid:1", "uid": 1, "pid": 10, "label": "l", "role": "client",
         "send_bytes": 100, "receive_bytes": 50, "receive_committed_bytes": 60, "open_calls": 2},
        {"id": 2, "app": "front", "principal": "uid:1", "uid": 1, "pid": 11, "label": "l", "role": "client",
         "send_bytes": 1, "receive_bytes": 2, "receive_committed_bytes": 3, "open_calls": 0},
    ],
    "edges": [
        {"client": "front", "server": "geo", "service": "hotel.Geo", "method": "Near\"by", "calls": 7, "codes": {0: 4, 7: 2},
         "in_flight": 1, "request_bytes": 10, "reply_bytes": 20, "denied": 2,
         "latency": {"bounds_ns": [1000, 2000], "counts": [1, 5], "sum_ns": 9000},
         "policies": [{"chain": "c", "policy": "p", "use": "rate_limit", "evaluations": 6, "denied": 2, "ns_total": 600}]},
    ],
    "peers": [{"id": 1, "address": "x:1", "node": "b", "state": "up", "error": "", "services": []}],
}  # fmt: skip


class Counted:
    def snapshot(self) -> dict[str, Any]:
        return SNAPSHOT


CHAINS = SimpleNamespace(revision=5, stats=ChangeStats())


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.text(Counted(), LeaseKeeper(Counted(), None), CHAINS))  # type: ignore[arg-type]
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(name: str, **labels: str) -> float:
    return samples()[name, frozenset(labels.items())]


def test_prometheus_reads_what_the_data_plane_counted() -> None:
    edge = {"client": "front", "server": "geo", "service": "hotel.Geo", "method": 'Near"by'}
    assert value("mrpc_calls_total", **edge, code="OK") == 4
    assert value("mrpc_calls_total", **edge, code="PERMISSION_DENIED") == 2
    assert value("mrpc_open_calls", **edge) == 1
    assert value("mrpc_call_latency_seconds_bucket", **edge, le="1e-06") == 1
    assert value("mrpc_call_latency_seconds_bucket", **edge, le="+Inf") == 6
    assert value("mrpc_call_latency_seconds_count", **edge) == 6
    assert value("mrpc_call_latency_seconds_sum", **edge) == pytest.approx(9e-6)
    assert value("mrpc_policy_evaluations_total", chain="c", policy="p") == 6
    assert value("mrpc_policy_denied_total", chain="c", policy="p") == 2
    assert value("mrpc_shared_memory_bytes", app="front", direction="send") == 101
    assert value("mrpc_shared_memory_bytes", app="front", direction="receive") == 63
    assert value("mrpc_attachments", app="front", role="client") == 2
    assert value("mrpc_peers", state="up") == 1
    assert value("mrpc_wire_bytes_total", kind="saved") == 7


@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        ([0, 0, 0], 0.5, 0.0),
        ([4, 0, 0], 0.5, 500.0),
        ([0, 4, 0], 0.5, 1500.0),
        ([1, 0, 1], 1.0, 4000.0),
        ([2, 2, 0], 1.0, 2000.0),
    ],
)
def test_quantiles_lie_within_their_bucket(counts: list[int], fraction: float, expected: float) -> None:
    assert quantile_ns([1000, 2000, 4000], counts, fraction) == pytest.approx(expected)


def record(text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("mrpcd", logging.INFO, __file__, 1, text, values, None)


def test_the_ring_keeps_the_last_lines_and_bounds_each() -> None:
    ring = LogRing(lines_kept=3)
    for number in range(5):
        ring.handle(record("line %d", number))
    assert [line.text for line in ring.tail(0)] == ["line 2", "line 3", "line 4"]
    assert [line.sequence for line in ring.tail(2)] == [4, 5]
    ring.handle(record("x" * 2 * LINE_CHARACTERS_MAX))
    assert len(ring.tail(1)[0].text) == LINE_CHARACTERS_MAX


def test_a_follower_gets_lines_from_other_threads_in_order() -> None:
    async def follow() -> list[str]:
        ring = LogRing()
        ring.handle(record("before"))
        lines = ring.follow(0)
        found = [(await anext(lines)).text]
        writer = asyncio.create_task(asyncio.to_thread(lambda: [ring.handle(record("line %d", n)) for n in range(100)]))
        found += [(await anext(lines)).text for _ in range(100)]
        await writer
        await lines.aclose()
        return found

    assert asyncio.run(follow()) == ["before", *(f"line {n}" for n in range(100))]
