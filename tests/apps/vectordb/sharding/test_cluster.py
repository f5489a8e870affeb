"""A cluster of real processes: two shards of two replicas. A database in one process says what is right."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrpc
import numpy as np
import pytest

from apps.vectordb.client import Client, models, reason
from apps.vectordb.database import Database
from apps.vectordb.sharding import wire
from apps.vectordb.sharding.cluster import ROUTER, LocalCluster, rows

DIM = 8
TENANTS = [f"t{number}" for number in range(8)]
RANDOM = np.random.default_rng(4)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with tempfile.TemporaryDirectory() as folder, LocalCluster(Path(folder), shards=2, replicas=2) as running:
        with Client() as admin:
            admin.create_collection("papers", models.VectorParams(DIM, models.Distance.EUCLID))
            for tenant in TENANTS:
                admin.create_tenant("papers", tenant)
            admin.create_role("papers", "team")
            for tenant in TENANTS[:3]:
                admin.add_member("papers", "team", tenant)
        yield running


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    with Database.open(None, background=False) as database:
        papers = database.create_collection("papers", dim=DIM, metric="l2")
        for tenant in TENANTS:
            papers.create_tenant(tenant)
        papers.create_role("team")
        for tenant in TENANTS[:3]:
            papers.add_member("team", tenant)
        yield papers


def as_tenant(tenant: str) -> Client:
    return Client(tenant=tenant)


@pytest.fixture(scope="module")
def filled(cluster: LocalCluster, oracle: Any) -> Any:
    """40 points of each tenant; t0's first ten are granted to t1, t5's and t6's to the team."""
    for tenant in TENANTS:
        vectors = RANDOM.standard_normal((40, DIM), np.float32)
        payloads = [{"year": 2000 + number % 5} for number in range(40)]
        ids = list(range(40))
        with as_tenant(tenant) as client:
            client.upsert("papers", models.Batch(ids, vectors, payloads))
            oracle.upsert(tenant, list(zip(ids, vectors, payloads, strict=True)))
    for owner, to in (("t0", "t1"), ("t5", "team"), ("t6", "team"), ("t7", "t0")):
        with as_tenant(owner) as client:
            assert client.grant("papers", list(range(10)), to=to).count == oracle.grant(owner, list(range(10)), to=to)
    return oracle


def found_by(tenant: str, query: np.ndarray, **how: Any) -> tuple[list[Any], Any]:
    with as_tenant(tenant) as client:
        hits = client.query_points("papers", query, limit=20, **how).points
    return [(hit.owner or tenant, hit.id) for hit in hits], [hit.score for hit in hits]


def right(oracle: Any, tenant: str, query: np.ndarray, **how: Any) -> tuple[list[Any], Any]:
    hits = oracle.search(tenant, query, 20, **how)
    return [(hit.owner, hit.id) for hit in hits], pytest.approx([float(np.sqrt(hit.distance)) for hit in hits])


def homes(cluster: LocalCluster) -> dict[str, int]:
    return {row["shard"]: row["tenants"] for row in rows(cluster.status())}


def test_tenants_are_spread_over_the_shards(cluster: LocalCluster) -> None:
    assert sum(homes(cluster).values()) == len(TENANTS) + 1 and min(homes(cluster).values()) > 0


def test_searches_find_what_a_single_database_finds(cluster: LocalCluster, filled: Any) -> None:
    for tenant in TENANTS:
        query = RANDOM.standard_normal(DIM, np.float32)
        assert found_by(tenant, query) == right(filled, tenant, query)


def test_counts_scrolls_and_gets_reach_all_shards(cluster: LocalCluster, filled: Any) -> None:
    with as_tenant("t0") as client:
        assert client.count("papers").count == filled.count("t0") == 70
        seen, cursor = [], None
        while True:
            points, cursor = client.scroll("papers", limit=7, offset=cursor)
            seen += [(point.owner or "t0", point.id) for point in points]
            if cursor is None:
                break
        assert sorted(seen) == sorted((record.owner, record.id) for record in filled.scroll("t0", limit=100).records)
        assert len(client.retrieve("papers", [3, 30], owner="t5")) == 1
        assert client.usage("papers").points == 40 and client.usage("papers").visible == 70


def test_filters_and_order_reach_all_shards(cluster: LocalCluster, filled: Any) -> None:
    wanted = models.Filter(must=[models.FieldCondition(key="year", match=models.MatchValue(value=2001))])
    query = RANDOM.standard_normal(DIM, np.float32)
    asked = {"must": [{"key": "year", "match": {"value": 2001}}]}
    assert found_by("t2", query, query_filter=wanted) == right(filled, "t2", query, filter=asked)
    with as_tenant("t2") as client:
        assert client.count("papers", wanted).count == filled.count("t2", asked) == 12
        facet = client._points.Facet(client._pb.FacetRequest(collection="papers", key="year", limit=3), metadata=client._metadata)
        assert [(value.integer, count) for value, count in zip(facet.values, facet.counts, strict=True)] == [
            tuple(each) for each in filled.facet("t2", "year", limit=3)]
        order = client._pb.OrderBy(key="year", descending=True)
        page = client._points.Scroll(client._pb.ScrollRequest(collection="papers", limit=15, order_by=order), metadata=client._metadata)
        assert [value.integer for value in page.order_values] == [
            value for value, _ in filled.scroll_ordered("t2", "year", limit=15, descending=True)]


def test_a_revoked_point_is_gone(cluster: LocalCluster, filled: Any) -> None:
    query = RANDOM.standard_normal(DIM, np.float32)
    with as_tenant("t3") as owner:
        owner.grant("papers", [1, 2, 3], to="t4")
        filled.grant("t3", [1, 2, 3], to="t4")
        owner.revoke("papers", [2], to="t4")
        filled.revoke("t3", [2], "t4")
    assert found_by("t4", query) == right(filled, "t4", query)


def test_errors_keep_their_types(cluster: LocalCluster, filled: Any) -> None:
    def refused(tenant: str, act: Any) -> tuple[str, str]:
        with as_tenant(tenant) as client, pytest.raises(mrpc.RpcError) as error:
            act(client)
        why = reason(error.value)
        return error.value.code().name, why.name if why else ""

    vector = [0.0] * DIM
    assert refused("t0", lambda client: client.query_points("papers", [1.0])) == ("INVALID_ARGUMENT", "INVALID")
    assert refused("t0", lambda client: client.query_points("paper", vector)) == ("NOT_FOUND", "NOT_FOUND")
    assert refused("stranger", lambda client: client.query_points("papers", vector)) == ("NOT_FOUND", "NOT_FOUND")
    assert refused("t0", lambda client: client.grant("papers", [1], to="nobody")) == ("NOT_FOUND", "NOT_FOUND")
    assert refused("t0", lambda client: client.create_tenant("papers", "x")) == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert refused("backend", lambda client: client.create_tenant("papers", "t0")) == ("ALREADY_EXISTS", "ALREADY_EXISTS")
    assert refused("backend", lambda client: client.create_tenant("papers", "No Name")) == ("INVALID_ARGUMENT", "INVALID")
    assert refused("backend", lambda client: client.create_collection("papers", models.VectorParams(2, models.Distance.DOT)))[0] == "ALREADY_EXISTS"
    assert refused("t0", lambda client: client.scroll("papers", offset="a/b/c")) == ("INVALID_ARGUMENT", "INVALID")
    # By owner: what another tenant owns and has shown may be seen and not be changed.
    pb = as_tenant("t1")._pb
    with as_tenant("t1") as client, pytest.raises(mrpc.RpcError) as error:
        client._points.Delete(pb.DeleteRequest(collection="papers", points=pb.Selection(ids=[3], owner="t0")), metadata=client._metadata)
    assert error.value.code().name == "PERMISSION_DENIED"


def test_limits_of_calls_are_the_routers_and_limits_of_points_the_homes(cluster: LocalCluster, filled: Any) -> None:
    with Client() as admin, as_tenant("limited") as limited:
        admin.create_tenant("papers", "limited", vectors=2, queries_per_s=0.001, burst=3)
        with pytest.raises(mrpc.RpcError) as error:
            limited.upsert("papers", models.Batch([1, 2, 3], np.zeros((3, DIM), np.float32)))
        assert reason(error.value).name == "QUOTA_EXCEEDED" and "own" in error.value.details()
        with pytest.raises(mrpc.RpcError) as error:
            limited.query_points("papers", [0.0] * DIM)
        assert float(reason(error.value).figures["retry_after_s"]) > 1
        assert admin.usage("papers", "limited").quota.queries_per_s == 0.001
        admin.delete_tenant("papers", "limited")
        assert "limited" not in admin.tenants("papers")


def test_a_shard_takes_calls_of_its_router_alone(cluster: LocalCluster, filled: Any) -> None:
    from apps.vectordb.sharding.replica import Replica

    pb = as_tenant("t0")._pb
    replica = Replica("vectordb-a0", mrpc)
    for asked in (lambda: replica.begin("Points.Count", pb.CountRequest(collection="papers"), "t0", 5).result(),
                  lambda: replica.join("somebody", 2**62, True)):
        with pytest.raises(mrpc.RpcError) as error:
            asked()
        assert error.value.code().name == "PERMISSION_DENIED"
    replica.close()


def test_a_second_router_is_refused(cluster: LocalCluster, filled: Any, tmp_path: Path) -> None:
    def route(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "apps.vectordb", "route", "--shards", "a,b", "--replicas", "2", "--dir", str(folder)]
        environment = {**os.environ, "MRPC_TOKEN": cluster.tokens[ROUTER]}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)

    same, other = route(cluster.data / ROUTER), route(tmp_path / "other")
    assert same.returncode == 1 and "one process at a time" in same.stderr
    assert other.returncode == 1 and "belongs to another router" in other.stderr and "Traceback" not in other.stderr


class Load:
    """Threads that write and read until the block ends, and what became of it."""

    def __init__(self, tenants: list[str]) -> None:
        self.written: dict[str, list[int]] = {tenant: [] for tenant in tenants}
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(work, tenant)) for tenant in tenants for work in (self._write, self._read)]

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def wait_for(self, more: int) -> None:
        """Until each tenant has written so many more."""
        wanted = {tenant: len(ids) + more for tenant, ids in self.written.items()}
        while any(len(self.written[tenant]) < count for tenant, count in wanted.items()) and not self.failed:
            self._stop.wait(0.005)

    def _run(self, work: Any, tenant: str) -> None:
        with as_tenant(tenant) as client:
            number = 1000
            while not self._stop.is_set():
                try:
                    work(client, tenant, number)
                except mrpc.RpcError as error:
                    self.failed.append(f"{work.__name__} of {tenant}: {error}")
                    return
                number += 1

    def _write(self, client: Client, tenant: str, number: int) -> None:
        client.upsert("papers", models.Batch([number], np.full((1, DIM), number, np.float32)))
        self.written[tenant].append(number)

    def _read(self, client: Client, tenant: str, number: int) -> None:
        seen = len(self.written[tenant])
        assert len(client.query_points("papers", [2000.0] * DIM, limit=100).points) >= min(seen, 100)


def kill(cluster: LocalCluster, app: str) -> None:
    cluster.running[app].kill()


def ids_of(tenant: str) -> set[int]:
    with as_tenant(tenant) as client:
        return {point.id for point in client.scroll("papers", limit=10_000)[0] if point.owner in ("", tenant)}


@pytest.fixture(scope="module")
def busy(cluster: LocalCluster, filled: Any) -> list[str]:
    """A tenant of each shard that only the load writes for."""
    with Client() as admin:
        for number in range(8):
            admin.create_tenant("papers", f"busy{number}")
    return [f"busy{number}" for number in range(4)]


def test_no_write_is_lost_and_no_call_fails_when_replicas_are_killed(cluster: LocalCluster, busy: list[str]) -> None:
    with Load(busy) as load:
        for app in ("vectordb-a0", "vectordb-b1"):
            load.wait_for(10)
            kill(cluster, app)
            load.wait_for(10)
            cluster.revive()
            load.wait_for(10)
    assert load.failed == []
    cluster.wait_until_serving()
    for app in ("vectordb-a1", "vectordb-b0"):  # what remains are the copies
        kill(cluster, app)
    for tenant in busy:
        assert ids_of(tenant) >= set(load.written[tenant])
    cluster.revive()
    cluster.wait_until_serving()


def test_a_router_that_was_killed_comes_back_with_all_that_was_acknowledged(cluster: LocalCluster, busy: list[str], filled: Any) -> None:
    before = {tenant: ids_of(tenant) for tenant in busy}
    load = Load(busy)
    with load:
        load.wait_for(5)
        kill(cluster, ROUTER)
    cluster.revive()
    cluster.wait_until_serving()
    for tenant in busy:
        assert ids_of(tenant) >= before[tenant] | set(load.written[tenant])
    query = RANDOM.standard_normal(DIM, np.float32)
    assert found_by("t0", query) == right(filled, "t0", query)


def move(tenant: str, shard: str) -> None:
    with mrpc.channel("mrpc:///vectordb.shard.Router") as channel:
        wire.load().pb_grpc.RouterStub(channel).Move(wire.load().pb.MoveRequest(tenant=tenant, shard=shard), timeout=30)


def test_a_tenant_moves_while_it_is_read_and_written(cluster: LocalCluster, busy: list[str], filled: Any) -> None:
    before = homes(cluster)
    with Load(busy[:1]) as load:
        load.wait_for(5)
        for shard in ("a", "b"):
            for tenant in (busy[0], "t0", "t5"):
                move(tenant, shard)
            query = RANDOM.standard_normal(DIM, np.float32)
            for tenant in ("t0", "t1", "t2"):  # an owner, and who was granted something, also by a role
                assert found_by(tenant, query) == right(filled, tenant, query)
                with as_tenant(tenant) as client:
                    assert client.count("papers").count == filled.count(tenant)
        command = [sys.executable, "-m", "apps.vectordb", "move", "t0", "--to", "nowhere"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and "there are a, b" in done.stderr and "Traceback" not in done.stderr
    assert load.failed == [] and ids_of(busy[0]) >= set(load.written[busy[0]])
    assert sum(homes(cluster).values()) == sum(before.values())


def test_a_shard_without_replicas_says_so_and_comes_back(cluster: LocalCluster, busy: list[str]) -> None:
    before = {tenant: ids_of(tenant) for tenant in busy}
    for app in ("vectordb-a0", "vectordb-a1"):
        kill(cluster, app)
    there = [tenant for tenant in busy if not _is_away(tenant)]
    assert 0 < len(there) < len(busy)  # the other shard goes on
    cluster.revive()
    cluster.wait_until_serving()
    assert {tenant: ids_of(tenant) for tenant in busy} == before
    assert sum(row["open_calls"] for row in rows(cluster.status())) <= 4  # what watches them calls, too


def _is_away(tenant: str) -> bool:
    """Whether a write is refused because its shard is away."""
    with as_tenant(tenant) as client:
        try:
            client.set_payload("papers", {"year": 1}, points=[1000])
        except mrpc.RpcError as error:
            assert (error.code().name, reason(error).name) == ("UNAVAILABLE", "AWAY")
            return True
        return False
