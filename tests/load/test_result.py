from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from mrpc_service.load import native
from mrpc_service.load.result import HIGHEST_NS, PERCENTAGES, Latencies


def counted(values: np.ndarray) -> dict:
    """As the native program would print them."""
    histogram = HdrHistogram(1, HIGHEST_NS, 3)
    values, counts = np.unique([histogram.get_lowest_equivalent_value(int(v)) for v in values], return_counts=True)
    return {"count": int(counts.sum()), "buckets": [[int(v), int(n)] for v, n in zip(values, counts, strict=True)]}


def latencies(values: np.ndarray) -> Latencies:
    return Latencies({**counted(values), "sum": int(values.sum()), "min": int(values.min()), "max": int(values.max())})


EMPTY = Latencies({"count": 0, "sum": 0, "min": 0, "max": 0, "buckets": []})


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_agree_with_numpy(seed):
    values = np.random.default_rng(seed).lognormal(11, 1.5, 20_000).astype(np.int64) + 1
    ours = latencies(values)
    for p in PERCENTAGES:
        # At the far tail neighbours lie apart, and the two libraries round the rank differently.
        low, high = (np.percentile(values, p, method=method) for method in ("lower", "higher"))
        assert low * (1 - 1.1e-3) <= ours.percentile(p) <= high * (1 + 1.1e-3)
    assert ours.average == pytest.approx(values.mean())


def test_merging_is_as_if_counted_together():
    values = np.random.default_rng(1).integers(1, 10**9, 5000)
    merged = latencies(values[:1000])
    merged.merge(latencies(values[1000:]))
    merged.merge(EMPTY)
    assert merged.summary() == latencies(values).summary()


def test_bars_hold_every_call():
    bars = latencies(np.random.default_rng(1).integers(1000, 10**7, 5000)).bars()
    assert sum(bar["count"] for bar in bars) == 5000
    assert sum(bar["frequency"] for bar in bars) == pytest.approx(1)
    assert [bar["mark"] for bar in bars] == sorted(bar["mark"] for bar in bars)


def test_nothing_measured():
    assert EMPTY.percentile(99) == 0
    assert EMPTY.average == 0
    assert EMPTY.bars() == []


def test_native_buckets_are_hdr_histograms(http_server):
    run = native.run([http_server.url, "--closed", "2", "--connections", "2", "--count", "300", "--warmup", "0"])
    histogram = HdrHistogram(1, HIGHEST_NS, 3)
    buckets = run["corrected"]["buckets"]
    assert all(histogram.get_lowest_equivalent_value(value) == value for value, _ in buckets)
    assert sum(count for _, count in buckets) == run["corrected"]["count"] == 300
