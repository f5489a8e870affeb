from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner
from hdrh.histogram import HdrHistogram

from mrpc_service.load.cli import load_command

PROTO = """
syntax = "proto3";
package test;
message Request { string name = 1; repeated int32 numbers = 2; }
service Test { rpc Call(Request) returns (Request); }
"""
QUICK = ["--rate", "1000", "--count", "50", "--warmup", "0"]


def invoke(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(load_command, list(arguments), input=stdin)


@pytest.fixture
def proto(tmp_path):
    path = tmp_path / "test.proto"
    path.write_text(PROTO)
    return str(path)


def test_json_has_the_shape_of_ghz(http_server):
    result = invoke(http_server.url, *QUICK, "-o", "json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["count"] == 50
    assert report["statusCodeDistribution"] == {"200": 50}
    assert report["errorDistribution"] == {}
    assert {"total", "average", "fastest", "slowest", "rps", "options", "date", "histogram"} <= report.keys()
    assert {"percentage", "latency"} == report["latencyDistribution"][0].keys()
    assert {"mark", "count", "frequency"} == report["histogram"][0].keys()
    assert report["fastest"] <= report["average"] <= report["slowest"]
    assert (report["loop"], report["late_sends"], report["skipped_sends"]) == ("open", report["late_sends"], 0)
    assert report["generator_cpu_seconds"] > 0
    assert report["uncorrected"]["count"] == 50
    assert HdrHistogram.decode(report["hdr"]).get_total_count() == 50


def test_table_and_csv(http_server):
    table = invoke(http_server.url, *QUICK)
    assert "open: constant rate" in table.stdout and "p99.9" in table.stdout
    rows = list(csv.DictReader(io.StringIO(invoke(http_server.url, *QUICK, "-o", "csv").stdout)))
    assert [row["percentage"] for row in rows][:3] == ["0", "10", "25"]
    assert all(int(row["corrected_ns"]) >= int(row["uncorrected_ns"]) for row in rows[:1])


def test_failed_calls_give_exit_code_1(http_server):
    assert invoke(f"{http_server.url}/status/500", *QUICK).exit_code == 1


def test_requests_from_standard_input(http_server):
    assert invoke(http_server.url, *QUICK, "--requests", "-", stdin="GET /a\nGET /b\n").exit_code == 0
    assert set(http_server.seen) == {"/a", "/b"}


def test_json_requests_become_protobuf(grpc_server, proto):
    seen = set()
    url = grpc_server(lambda request, context: seen.add(request) or request)
    result = invoke(url, *QUICK, "--proto", proto, "--data", '[{"name": "ab"}, {"numbers": [1, 2]}]')
    assert result.exit_code == 0, result.output
    assert seen == {b"\x0a\x02ab", b"\x12\x02\x01\x02"}


def test_hex_and_file_requests(grpc_server, tmp_path):
    seen = set()
    url = grpc_server(lambda request, context: seen.add(request) or request)
    (tmp_path / "request").write_bytes(b"from a file")
    assert invoke(url, *QUICK, "--data-hex", "0a0161").exit_code == 0
    assert invoke(url, *QUICK, "--data-file", str(tmp_path / "request")).exit_code == 0
    assert seen == {b"\x0a\x01a", b"from a file"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name a target"),
        (["http://127.0.0.1:1/"], "either --rate"),
        (["http://127.0.0.1:1/", "--rate", "1", "--closed", "1"], "either --rate"),
        (["ftp://127.0.0.1:1/", "--rate", "1"], "unknown kind of target"),
        (["grpc://127.0.0.1:1", "--rate", "1"], "/pkg.Service/Method"),
        (["grpc://127.0.0.1:1/a.B/C", "--rate", "1", "--data", "{}"], "--proto"),
        (["http://127.0.0.1:1/", "--rate", "1", "--requests", "/nonexistent"], "cannot read"),
        (["grpc://127.0.0.1:1/a.B/C", "--rate", "1", "--data-hex", "0g"], "not hexadecimal"),
        (["grpc://127.0.0.1:1/a.B/C", "--rate", "1", "--protoset", __file__, "--data", "{}"], "no FileDescriptorSet"),
        (["grpc://127.0.0.1:1/test.Test/Call", "--rate", "1", "--proto", "PROTO", "--data", "@/nonexistent"], "cannot read"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments, text, proto):
    result = invoke(*[proto if argument == "PROTO" else argument for argument in arguments])
    assert result.exit_code == 2
    assert text in result.stderr and result.stderr.count("\n") == 1


def test_a_target_that_cannot_be_reached_is_no_wrong_usage():
    result = invoke("http://host.invalid/", *QUICK)
    assert result.exit_code == 1 and "host.invalid" in result.stderr


def test_data_that_does_not_fit_the_schema(proto):
    result = invoke("grpc://127.0.0.1:1/test.Test/Call", *QUICK, "--proto", proto, "--data", '{"nme": 1}')
    assert "does not fit" in result.stderr
    result = invoke("grpc://127.0.0.1:1/test.Test/Nope", *QUICK, "--proto", proto, "--data", "{}")
    assert "no method test.Test/Nope" in result.stderr


def test_self_test_compares_with_a_target(http_server):
    result = invoke(http_server.url, "--self-test", "-o", "json")
    report = json.loads(result.stdout)
    assert report["met"] is True  # a Python server is no match
    assert report["ratio"] >= report["needed"] == 3
    assert set(report["null"]) == {"http", "grpc"}
