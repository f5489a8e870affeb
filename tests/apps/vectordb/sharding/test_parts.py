"""Parts of a router, without processes."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Quota
from apps.vectordb.database.errors import Invalid, Locked, NotFound, QuotaExceeded
from apps.vectordb.scheduler import WaitedTooLong
from apps.vectordb.sharding import merge, wire
from apps.vectordb.sharding.ledger import Ledger
from apps.vectordb.sharding.order import Order
from apps.vectordb.sharding.rates import Rates, without_rates
from apps.vectordb.sharding.router import Collections, Points, is_mesh_name
from apps.vectordb.sharding.tenants import Tenants
from apps.vectordb.transport import load

PB = load("mrpc").pb


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Its test closes it."""
    one = Ledger(tmp_path / "router")
    one.put_collection("c", made=True, metric=1)
    for name, home in (("x", "a"), ("y", "b"), ("z", "b")):
        one.add("c", name, False, home, Quota())
    one.add("c", "team", True, "a", Quota())
    return one


def again(ledger: Ledger, tmp_path: Path, *, clean: bool = True) -> Ledger:
    ledger.close(clean)
    return Ledger(tmp_path / "router")


def test_a_tenant_is_sent_to_its_home_and_where_it_was_granted_something(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.shards("c", "x") == ["a"]
    ledger.note_grant("c", "y", "x")
    ledger.join("c", "team", "z")
    ledger.note_grant("c", "x", "team")
    assert (ledger.shards("c", "x"), ledger.shards("c", "z")) == (["a", "b"], ["b", "a"])
    ledger.set_home("c", "x", "b")
    assert (ledger.shards("c", "x"), ledger.shards("c", "z"), ledger.leftovers()) == (["b"], ["b"], [("c", "x", "a")])
    ledger.set_home("c", "y", "a")
    other = again(ledger, tmp_path)
    assert (other.shards("c", "x"), other.shards("c", "z")) == (["b", "a"], ["b"])
    other.drop("c", "y")
    assert other.shards("c", "x") == ["b"] and other.leftovers() == [("c", "x", "a")]
    with pytest.raises(NotFound):
        other.shards("c", "y")
    with pytest.raises(Invalid, match="at home on b"):
        other.check_shards(["a"])
    other.close(clean=True)


def test_a_directory_has_one_router_which_knows_how_the_last_one_ended(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(Locked):
        Ledger(tmp_path / "router")
    epoch, name = ledger.next_epoch(), ledger.router
    second = again(ledger, tmp_path, clean=False)
    assert (second.router, second.was_clean) == (name, False) and second.next_epoch() > epoch
    third = again(second, tmp_path)
    assert third.was_clean
    third.close(clean=True)


def test_of_a_new_shard_the_first_replica_is_current(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.replicas("a", ["a0", "a1"]) == {"a0"}
    ledger.set_current("a", ["a1"])
    other = again(ledger, tmp_path)
    assert other.replicas("a", ["a0", "a1"]) == {"a1"}
    with pytest.raises(Invalid, match="only a1 has all writes"):
        other.replicas("a", ["a0"])
    other.close(clean=True)


def test_owners_write_at_once_and_administrators_alone() -> None:
    order, entered, leave = Order(), threading.Event(), threading.Event()

    def alone() -> None:
        with order.alone():
            entered.set()

    with order.of("x"), order.of("y"):
        with pytest.raises(WaitedTooLong), order.of("x", 0.0):
            pass
        with pytest.raises(WaitedTooLong), order.alone(0.0):
            pass
        thread = threading.Thread(target=alone)
        thread.start()
        assert not entered.is_set()
    thread.join()
    leave.set()
    assert entered.is_set()
    with order.of("x", 0.0):
        pass


def test_a_rate_is_counted_once_and_shards_see_none_of_it() -> None:
    quota = Quota(vectors=5, queries_per_s=0.001, burst=2)
    assert without_rates(quota) == {"vectors": 5}
    rates = Rates()
    rates.admit("c", "x", quota, 2)
    with pytest.raises(QuotaExceeded) as error:
        rates.admit("c", "x", quota, 1)
    assert error.value.retry_after_s > 1
    rates.admit("c", "x", Quota(queries_per_s=1000), 1)


def found(scores: list[float], counts: list[int], ids: list[int], owners: list[str]) -> Any:
    places = list(dict.fromkeys(owners))
    payloads = [json.dumps({owner: number}) for owner, number in zip(owners, ids, strict=True)]
    points = PB.Records(ids=ids, owners=places, owner=[places.index(each) for each in owners], payloads=payloads)
    return PB.SearchReply(scores=scores, counts=counts, points=points)


def test_hits_are_merged_by_score_for_each_query_and_a_point_that_moves_is_there_once() -> None:
    first = found([0.9, 0.5, 0.3], [2, 1], [1, 2, 3], ["x", "x", "x"])
    second = found([0.9, 0.8, 0.2], [2, 1], [1, 9, 7], ["x", "y", "y"])
    both = merge.hits(PB, [first, second], 2, "x", smaller_is_nearer=False)
    assert list(both.counts) == [2, 2] and list(both.points.ids) == [1, 9, 3, 7]
    assert merge.owners(both.points, "x") == ["x", "y", "x", "y"]
    assert list(both.scores) == pytest.approx([0.9, 0.8, 0.3, 0.2]) and both.points.payloads[1] == '{"y": 9}'
    near = merge.hits(PB, [first, second], 1, "x", smaller_is_nearer=True)
    assert list(near.points.ids) == [2, 7]


def test_facets_are_summed_before_the_most_frequent_are_taken() -> None:
    def facet(**counts: int) -> Any:
        return PB.FacetReply(values=[PB.PayloadValue(keyword=each) for each in counts], counts=counts.values())

    both = merge.facets(PB, [facet(x=5, y=4), facet(z=5, y=3, x=1)], 2)
    assert [(value.keyword, count) for value, count in zip(both.values, both.counts, strict=True)] == [("y", 7), ("x", 6)]


def test_vectors_and_uuids_go_with_their_points() -> None:
    vectors = np.arange(6, dtype=np.float32)
    first = PB.Records(ids=[1, 0], uuids=["", "u"], vectors=vectors[:4].tobytes(), dtype=1,
                       sparse=[PB.SparseVectors(name="s", sizes=[0, 2], indices=[4, 5], values=[1.0, 2.0])])
    second = PB.Records(ids=[7], vectors=vectors[4:].tobytes(), dtype=1)
    both = merge.gather(PB, [merge.Row(second, 0), merge.Row(first, 1)], "x")
    assert list(both.ids) == [7, 0] and list(both.uuids) == ["", "u"] and not both.owners
    assert np.frombuffer(bytes(both.vectors), np.float32).tolist() == [4, 5, 2, 3]
    assert list(both.sparse[0].sizes) == [0, 2] and list(both.sparse[0].indices) == [4, 5]


def test_the_router_can_act_for_names_of_the_mesh() -> None:
    assert [name for name in ("acme", "a.b-c_1", "", "uid:0", "-a", "A", "a" * 64) if is_mesh_name(name)] == ["acme", "a.b-c_1"]


@pytest.mark.parametrize("servicer", [Points, Collections, Tenants])
def test_a_shard_offers_what_its_router_does(servicer: type) -> None:
    stub = getattr(wire.load().pb_grpc, f"{servicer.__name__.upper()}_SERVICE")
    assert {method.name for method in stub.methods} >= set(servicer.METHODS)
    assert all(callable(getattr(servicer, name)) for name in servicer.METHODS)
