"""Points by tenant: writing, sharing, reading, and what a tenant must not learn."""
from __future__ import annotations

import json

import numpy as np
import pytest

from apps.vectordb.database import AlreadyExists, Collection, Database, Denied, Invalid, NotFound, Point, Points

UUID_A = "0190d6a2-7a3b-7c4d-8e5f-001122334455"


def fill(collection: Collection, tenant: str, count: int, start: int = 0) -> None:
    """Points start to start + count - 1 at (id, 0), with payload {"n": id}."""
    ids = range(start, start + count)
    collection.upsert(tenant, [Point(i, [i, 0], {"n": i}) for i in ids])


def test_a_tenant_sees_its_points_and_no_others(papers: Collection) -> None:
    fill(papers, "acme", 5)
    fill(papers, "bolt", 3)
    assert papers.search("acme", [0, 0], 10).ids == [0, 1, 2, 3, 4]
    assert papers.search("bolt", [0, 0], 10).owners == ["bolt"] * 3
    assert (papers.count("acme"), papers.count("bolt"), papers.count("cove")) == (5, 3, 0)
    assert len(papers.search("cove", [0, 0], 10)) == 0


def test_hits_are_nearest_first_with_payloads(papers: Collection) -> None:
    fill(papers, "acme", 5)
    hits = papers.search("acme", [3.1, 0], 2)
    assert [(hit.id, json.loads(hit.payload)) for hit in hits] == [(3, {"n": 3}), (4, {"n": 4})]
    assert hits.distances == pytest.approx([0.01, 0.81], rel=1e-4)
    assert papers.search("acme", [3, 0], 1, with_payload=False).payloads is None


def test_a_batch_of_queries_answers_each(papers: Collection) -> None:
    fill(papers, "acme", 5)
    assert [hits.ids for hits in papers.search("acme", [[0, 0], [4, 0]], 2)] == [[0, 1], [4, 3]]
    assert papers.search("acme", np.empty((0, 2)), 2) == []


def test_a_batch_in_pieces_answers_the_same(papers: Collection) -> None:
    fill(papers, "acme", 5)
    queries, pieces = np.random.default_rng(0).random((10, 2)) * 4, iter([(1, 1), (4, 2), (2, 1), (64, 3)])
    found = papers.search_columns("acme", queries, 2, pace=pieces.__next__)
    assert [hits.ids for hits in found] == [hits.ids for hits in papers.search("acme", queries, 2)]
    assert next(pieces, None) is None, "each was asked for"


def test_upsert_replaces_vector_and_payload_and_keeps_grants(papers: Collection) -> None:
    fill(papers, "acme", 3)
    papers.grant("acme", [1], to="bolt")
    assert papers.upsert("acme", [Point(7, [7, 0]), Point(1, [9, 9], {"new": True}), Point(8, [8, 0])]) == 3
    assert papers.count("acme") == 5
    [record] = papers.get("bolt", [("acme", 1)], with_vector=True)
    assert json.loads(record.payload) == {"new": True}
    assert record.vector.tolist() == [9, 9]
    assert papers.get("acme", [7, 8])[1].payload == b"{}"


def test_points_of_which_a_tenant_sees_none_are_not_looked_at(papers: Collection) -> None:
    fill(papers, "bolt", 3)
    theirs = papers._contents.namespace(papers._contents.parties.tenant("bolt").number)
    theirs.cool()
    assert papers.get("acme", [("bolt", 1), ("bolt", 77)], skip_missing=True) == []
    assert theirs.warm_bytes == 0  # else the first such call would tell by its time how many there are
    papers.grant("bolt", [1], to="acme")
    theirs.cool()
    assert [record.id for record in papers.get("acme", [("bolt", 1), ("bolt", 2), ("bolt", 77)], skip_missing=True)] == [1]
    papers.revoke("bolt", [1], from_="acme")
    assert papers.get("acme", [("bolt", 1)], skip_missing=True) == []


def test_spellings_of_a_uuid(papers: Collection) -> None:
    papers.upsert("acme", [Point(UUID_A, [1, 1])])
    for spelling in (UUID_A.upper(), UUID_A.replace("-", ""), f"urn:uuid:{UUID_A}", f"{{{UUID_A}}}"):
        assert [record.id for record in papers.get("acme", [spelling])] == [UUID_A]
    bare = UUID_A.replace("-", "")
    for none in ("0x" + bare[2:], "+" + bare[1:], " " + bare[1:], "\u0661" * 32, UUID_A[:-1] + "-a", UUID_A + "\n"):
        with pytest.raises(Invalid, match="must be a UUID"):
            papers.get("acme", [none])


def test_columns_and_uuids(papers: Collection) -> None:
    assert papers.upsert("acme", Points(np.arange(3, dtype=np.uint64), np.eye(3, 2), [{"a": 1}, None, b'{"b": 2}'])) == 3
    papers.upsert("acme", [Point(UUID_A.upper(), [5, 5]), Point(2**64 - 1, [6, 6])])
    assert papers.search("acme", [5, 5], 2).ids == [UUID_A, 2**64 - 1]
    assert [record.id for record in papers.get("acme", [UUID_A, 2])] == [UUID_A, 2]


def test_names_of_points_are_their_owners(papers: Collection) -> None:
    fill(papers, "acme", 2)
    fill(papers, "bolt", 2)
    papers.grant("acme", [1], to="bolt")
    assert sorted((hit.owner, hit.id) for hit in papers.search("bolt", [1, 0], 9)) == [("acme", 1), ("bolt", 0), ("bolt", 1)]


def test_grant_and_revoke_count_pairs_and_may_be_repeated(papers: Collection) -> None:
    fill(papers, "acme", 3)
    assert papers.grant("acme", [0, 1], to=["bolt", "cove"]) == 4
    assert papers.grant("acme", [0, 1, 2], to="bolt") == 1
    assert papers.grant("acme", [0], to="acme") == 0
    assert papers.revoke("acme", [0, 2], from_="bolt") == 2
    assert papers.revoke("acme", [0], from_="bolt") == 0
    assert (papers.count("bolt"), papers.count("cove"), papers.count("acme")) == (1, 2, 3)


def test_a_role_shows_its_members_what_it_was_granted(papers: Collection) -> None:
    fill(papers, "acme", 4)
    papers.create_role("readers")
    papers.add_member("readers", "bolt")
    papers.grant("acme", [0, 1], to="readers")
    papers.grant("acme", [1, 2], to="bolt")
    assert papers.search("bolt", [0, 0], 9).ids == [0, 1, 2]
    assert papers.count("bolt") == 3
    papers.remove_member("readers", "bolt")
    assert papers.search("bolt", [0, 0], 9).ids == [1, 2]
    papers.add_member("readers", "cove")
    assert papers.revoke("acme", [0], from_="readers") == 1
    assert papers.search("cove", [0, 0], 9).ids == [1]
    papers.drop_tenant("readers")
    assert papers.tenant("cove").roles == ()
    assert papers.count("cove") == 0


def test_a_role_cannot_act(papers: Collection) -> None:
    papers.create_role("readers")
    for act in (papers.count, lambda name: papers.search(name, [0, 0], 1), lambda name: papers.upsert(name, [Point(1, [0, 0])])):
        with pytest.raises(NotFound):
            act("readers")


def test_delete_takes_points_from_everybody(papers: Collection) -> None:
    fill(papers, "acme", 4)
    papers.grant("acme", [0, 1], to="bolt")
    assert papers.delete("acme", [0, 3, 77]) == 2
    assert papers.search("bolt", [0, 0], 9).ids == [1]
    assert papers.delete("acme", [1, 2]) == 2
    assert len(papers.search("acme", [0, 0], 9)) == 0
    fill(papers, "acme", 1)
    assert papers.search("acme", [0, 0], 9).ids == [0]


def test_only_the_owner_changes_a_point(papers: Collection) -> None:
    fill(papers, "acme", 2)
    papers.grant("acme", [1], to="bolt")
    changes = [lambda ref: papers.delete("bolt", [ref]), lambda ref: papers.grant("bolt", [ref], to="cove"),
               lambda ref: papers.revoke("bolt", [ref], from_="bolt"), lambda ref: papers.set_payload("bolt", [ref], {"x": 1})]
    for change in changes:
        with pytest.raises(Denied):
            change(("acme", 1))
    assert papers.delete("bolt", [1]) == 0  # its own point 1, which it has not
    assert papers.count("acme") == 2


def test_what_is_not_to_be_seen_is_as_what_is_not_there(papers: Collection) -> None:
    """The same error with the same words, whichever of the two it is."""
    fill(papers, "acme", 1)
    asks = [lambda ref: papers.get("bolt", [ref]), lambda ref: papers.delete("bolt", [ref]), lambda ref: papers.grant("bolt", [ref], to="cove"),
            lambda ref: papers.set_payload("bolt", [ref], {})]
    for ask in asks:
        words = set()
        for ref in (("acme", 0), ("acme", 1), ("nobody", 0)):
            with pytest.raises(NotFound) as caught:
                ask(ref)
            words.add(str(caught.value).replace(repr(ref[0]), "OWNER").replace(f"point {ref[1]}", "POINT"))
        assert len(words) == 1
    assert papers.get("bolt", [("acme", 0)], skip_missing=True) == []


def test_payloads_are_merged_replaced_and_cut(papers: Collection) -> None:
    fill(papers, "acme", 2)
    assert papers.set_payload("acme", [0], {"a": [1, None]}) == 1
    assert json.loads(papers.get("acme", [0])[0].payload) == {"n": 0, "a": [1, None]}
    papers.delete_payload("acme", [0], ["n"])
    assert json.loads(papers.get("acme", [0])[0].payload) == {"a": [1, None]}
    papers.set_payload("acme", [0, 1], {"z": "ä"}, replace=True)
    assert [json.loads(record.payload) for record in papers.get("acme", [0, 1])] == [{"z": "ä"}] * 2
    with pytest.raises(NotFound):
        papers.set_payload("acme", [0, 5], {"half": True})
    assert json.loads(papers.get("acme", [0])[0].payload) == {"z": "ä"}


def test_scroll_gives_each_once(papers: Collection) -> None:
    fill(papers, "acme", 7)
    fill(papers, "bolt", 3)
    papers.grant("acme", range(5), to="bolt")
    papers.create_role("readers")
    papers.add_member("readers", "bolt")
    papers.grant("acme", [4, 5], to="readers")
    seen, cursor = [], None
    while True:
        page = papers.scroll("bolt", limit=2, cursor=cursor, with_vector=True)
        seen += [(record.owner, record.id, record.vector[0]) for record in page.records]
        if (cursor := page.cursor) is None:
            break
    assert seen == [("acme", i, i) for i in range(6)] + [("bolt", i, i) for i in range(3)]


def test_a_cursor_is_good_for_its_tenant_alone(papers: Collection) -> None:
    fill(papers, "acme", 3)
    fill(papers, "bolt", 3)
    cursor = papers.scroll("acme", limit=1).cursor
    assert papers.scroll("acme", limit=9, cursor=cursor).records[0].id == 1
    for tenant, forged in (("bolt", cursor), ("acme", "0" * 32), ("acme", "x"), ("acme", cursor + "00")):
        with pytest.raises(Invalid):
            papers.scroll(tenant, limit=1, cursor=forged)


def test_dropping_a_tenant_leaves_nothing_of_it(papers: Collection) -> None:
    fill(papers, "acme", 3)
    fill(papers, "bolt", 1)
    papers.grant("acme", [0], to="bolt")
    papers.grant("bolt", [0], to="acme")
    assert papers.drop_tenant("acme") == 3
    with pytest.raises(NotFound):
        papers.count("acme")
    assert papers.count("bolt") == 1
    papers.create_tenant("acme")
    assert papers.count("acme") == 0


def test_usage_counts(papers: Collection) -> None:
    fill(papers, "acme", 3)
    papers.search("acme", [0, 0], 2)
    papers.delete("acme", [2])
    papers.grant("acme", [0], to="bolt")
    usage = papers.usage("acme")
    assert usage[:4] == (2, 2, 16, 2 * len(b'{"n":0}'))
    assert (usage.queries, usage.points_read, usage.points_written, usage.points_deleted, usage.grants) == (1, 2, 3, 1, 1)
    assert papers.usage("bolt").visible == 1
    assert papers.usage("bolt").points == 0


def test_names_are_taken_once(papers: Collection, memory: Database) -> None:
    papers.create_role("readers")
    for again in (lambda: papers.create_tenant("acme"), lambda: papers.create_tenant("readers"), lambda: papers.create_role("acme"),
                  lambda: memory.create_collection("papers", dim=3)):
        with pytest.raises(AlreadyExists):
            again()


@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_one_query_is_a_row_or_a_batch_of_one(memory: Database, metric: str) -> None:
    collection = memory.create_collection("other", dim=2, metric=metric)
    collection.create_tenant("acme")
    collection.upsert("acme", [Point(1, [1.0, 0.0]), Point(2, [0.0, 2.0])])
    for vector in (np.array([3.0, 1.0], dtype) for dtype in (np.float16, np.float32, np.float64)):
        alone, row, batch = collection.search("acme", vector, 2), collection.search("acme", [vector], 2), collection.search("acme", [vector] * 2, 2)
        assert list(alone) == list(row[0]) and alone.ids == batch[1].ids
        assert alone.distances == pytest.approx(batch[1].distances, abs=1e-6)
