from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.common import envoy, markdown
from bench.common.process import Child, NotStarted, cpu_seconds
from bench.common.report import Claim, Report
from bench.common.statistics import confidence, percentile
from bench.rpc import claims, relay


def report() -> Report:
    return Report("rpc", environment={"commit": "c", "date": "d", "cpu": "x", "cores": 2, "memory_gib": 1, "kernel": "k", "python": "3",
                                      "packages": {"grpcio": "1"}, "load_average": [0.0, 0, 0]})


def test_percentile_and_confidence():
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([3, 1, 2], 99) == 3
    low, high = confidence([10.0] * 20)
    assert low == high == 10


def test_a_claim_is_met_only_by_a_measurement():
    assert Claim("a", "", ">= 3", 3.0).met
    assert not Claim("a", "", ">= 3", 2.9).met
    assert not Claim("a", "", "< 1").met


def test_every_claim_is_emitted_even_when_nothing_was_measured():
    made = claims.make(report())
    assert len({claim.id for claim in made}) == len(made) > 15
    assert not any(claim.met for claim in made)


def test_claims_are_ratios_of_rows():
    found = report()
    for system, p50 in (("mrpc", 10.0), ("grpc", 400.0), ("grpc.aio", 200.0), ("grpc+envoy", 500.0)):
        found.add("latency 64 B, 1 in flight", system, "p50", "us", [p50])
    found.add("relay 64 B", "relay, all sleep", "p50", "us", [9.0])
    found.add("relay 64 B", "relay, daemon polls", "p50", "us", [4.0])
    measured = {claim.id: claim.measured for claim in claims.make(found)}
    assert measured["rpc.p50_64b_vs_envoy"] == 50
    assert measured["rpc.p50_64b_vs_grpc"] == 20  # the better of the two
    assert measured["rpc.p50_64b_vs_relay"] == 2.5  # the best setting


def test_a_quick_run_takes_what_it_lacks_from_the_full_one():
    full, quick = report(), report()
    full.claims = [Claim("a", "", ">= 1", 7.0), Claim("b", "", ">= 1", 8.0)]
    quick.claims = [Claim("a", "", ">= 1", 2.0), Claim("b", "", ">= 1"), Claim("c", "", ">= 1")]
    quick.fill_from(full.to_json())
    assert [(c.measured, bool(c.taken_from), c.met) for c in quick.claims] == [(2.0, False, True), (8.0, True, True), (None, False, False)]


def test_markdown_keeps_claims_that_are_not_met():
    found = report()
    found.claims = [Claim("rpc.x", "text", ">= 5", 4.0)]
    assert "| rpc.x | text | >= 5 | 4 | **no** |" in markdown.render([found.to_json()], {})


def test_a_row_that_failed_says_why_without_the_machines_paths():
    found = report()
    found.fail("latency 64 B", "grpc", f'File "{Path(__file__).parents[2]}/bench/x.py", beside /opt/some/lib/y.py: 3 calls/s of bench.Echo/Call')
    text = markdown.render([found.to_json()], {})
    assert 'latency 64 B | grpc | failed | - |  | File "bench/x.py", beside y.py: 3 calls/s of bench.Echo/Call |' in text
    assert found.failed("latency 64 B", "grpc") and not found.failed("latency 64 B", "mrpc")
    assert found.find("latency 64 B", "grpc", "p50") is None


def test_a_child_that_goes_on_talking_does_not_stand_still():
    with Child([sys.executable, "-c", "print('ready'); print('x' * 1_000_000, flush=True)"], "ready") as child:
        assert child.process.wait(10) == 0


def test_cpu_of_a_process_is_counted():
    with Child([sys.executable, "-c", "sum(range(3_000_000)); print('ready', flush=True); input()"], "ready", stdin=True) as child:
        assert 0 < cpu_seconds([child.pid]) < cpu_seconds([child.pid, os.getpid()])


def test_a_child_that_ends_too_early_says_why():
    with pytest.raises(NotStarted, match="no luck"):
        Child([sys.executable, "-c", "raise SystemExit('no luck')"], "ready")


def test_envoy_takes_its_configuration(tmp_path):
    pytest.importorskip("envoy")
    denial = envoy.HeaderDenial("x-tag", ("nobody",))
    config = envoy.bootstrap(("127.0.0.1", 0), ("127.0.0.1", 1), envoy.policies(100, denial))
    with envoy.start(config, tmp_path, "proxy") as proxy:
        assert proxy.process.poll() is None


def test_relay_makes_its_round_trips(tmp_path):
    program = relay.build(tmp_path)
    assert len(relay.round_trips(program, "all sleep", 100)) == 100
