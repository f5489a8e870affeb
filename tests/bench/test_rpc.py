"""bench.rpc's peers: that the Envoys judge what they say they judge, and that a call which fails costs its own row only."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bench.common import envoy
from bench.common.report import Report
from bench.rpc import costs, judged
from bench.rpc.binding import GRPC_OPTIONS
from bench.rpc.measures import Bench, Scale, running
from bench.rpc.systems import FIELD, POLICIES, Deployment, Kit

CALL_SECONDS = 10
SIZES = {"64 B": 64, "64 KiB": 64 << 10, "1 MiB": 1 << 20}
DENIED = FIELD[2][0]


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> Kit:
    return Kit(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def payload(kit):
    """The message's class, from the schema: generated modules would stay imported after this test."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(kit.schema).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Payload"))


@pytest.fixture(scope="module")
def by_field(kit):
    pytest.importorskip("envoy")
    with kit.envoy(by_field=True) as deployment:
        yield deployment


@pytest.fixture
def call(by_field: Deployment, payload):
    with grpc.insecure_channel(by_field.target, options=GRPC_OPTIONS) as channel:
        method = channel.unary_unary("/bench.Echo/Call", payload.SerializeToString, payload.FromString)
        yield lambda **fields: method(payload(**fields), timeout=CALL_SECONDS, wait_for_ready=True)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_envoy_judges_the_field_of_a_message(call, size):
    assert call(data=bytes(size), tag="somebody").data == bytes(size)
    with pytest.raises(grpc.RpcError) as denied:
        call(data=bytes(size), tag=DENIED)
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_every_call_through_envoys_is_judged_over_one_connection(by_field, call):
    before = judged.count(by_field)
    for _ in range(200):  # whose lines of log would fill a pipe
        call(data=bytes(64 << 10))
    after = judged.count(by_field)
    assert {what: after[what] - before[what] for what in after} == {"calls": 200, "rate_limit": 200, "access_control": 200}
    assert [envoy.counters(at)[envoy.CONNECTIONS] for at in by_field.admins.values()] == [1, 1]


def test_every_call_of_the_mesh_is_judged(kit):
    with kit.mrpc() as deployment, deployment.client() as client:
        before = judged.count(deployment)
        client.do("latency", size=64, calls=50, warmup=0)
        after = judged.count(deployment)
    assert {what: after[what] - before.get(what, 0) for what in after} == {"calls": 50, "rate_limit": 50, "access_control": 50}


def test_policies_are_lifted_and_applied_in_a_running_daemon(kit):
    def judged_of(calls: int) -> int:
        before = judged.count(deployment)["access_control"]
        client.do("latency", size=64, calls=calls, warmup=0)
        return max(0, judged.count(deployment)["access_control"] - before)  # lifting a policy takes its counter away

    with kit.mrpc() as deployment, deployment.client() as client:
        assert judged_of(20) == 20
        costs.apply(deployment, costs.NO_POLICIES)
        assert judged_of(20) == 0
        costs.apply(deployment, POLICIES)
        assert judged_of(20) == 20


def test_a_work_that_fails_costs_its_own_row_only(kit):
    bench = Bench(Report("rpc", environment={}), Scale(1, {}, 0.1, 0.1), lambda text: None)
    with running(bench, {"grpc": kit.grpc}):
        assert bench.do("grpc", "a row", "no_such_work") is None
        assert bench.do("grpc", "a row", "latency", size=64, calls=3, warmup=0) is None
        assert len(bench.do("grpc", "another", "latency", size=64, calls=3, warmup=0)) == 3
    (row,) = bench.report.rows
    assert (row.work, row.system) == ("a row", "grpc") and "no_such_work" in row.failed
