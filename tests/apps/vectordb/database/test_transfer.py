"""A tenant exported, and imported elsewhere or under another name; files that are not whole import nothing."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.vectordb.database import AlreadyExists, Collection, Damaged, Database, DatabaseError, Invalid, NotFound, Point, Quota, QuotaExceeded, frames
from apps.vectordb.database.model import Sparse
from apps.vectordb.database.records import Change, pb
from apps.vectordb.database.transfer import MAGIC
from tests.apps.vectordb.database.plain_index import PlainIndex

UUID_A = "0190d6a2-7a3b-7c4d-8e5f-001122334455"


@pytest.fixture
def exported(papers: Collection, tmp_path: Path) -> Path:
    """acme with 2,500 points and gaps in its rows, some granted to bolt and to a role."""
    papers.create_role("readers")
    papers.set_quota("acme", Quota(vectors=9000))
    papers.upsert("acme", [Point(i, [i, 1], {"n": i}) for i in range(2500)])
    papers.upsert("acme", [Point(UUID_A, [0.5, 0.25])])
    papers.delete("acme", [7, 8])
    papers.grant("acme", [1, 2000], to="bolt")
    papers.grant("acme", [5], to="readers")
    assert papers.export_tenant("acme", tmp_path / "acme") == 2499
    return tmp_path / "acme"


def contents(collection: Collection, tenant: str) -> list[tuple]:
    return [(record.id, record.payload, record.vector.tolist()) for record in collection.scroll(tenant, limit=10_000, with_vector=True).records]


def test_what_comes_back(papers: Collection, exported: Path) -> None:
    before = contents(papers, "acme")
    assert papers.import_tenant(exported, "acme again") == 2499
    assert contents(papers, "acme again") == before
    assert papers.tenant("acme again").quota == Quota(vectors=9000)
    assert sorted(record.id for record in papers.scroll("bolt").records) == [1, 1, 2000, 2000]
    assert [record.id for record in papers.get("bolt", [("acme again", 2000)])] == [2000]


def test_into_another_database_that_knows_fewer_names(papers: Collection, exported: Path, quick_folder: Path) -> None:
    for _ in range(2):  # the second time from the log
        with Database.open(quick_folder / "db", index_type=PlainIndex, background=False) as db:
            if not db.collections():
                there = db.create_collection("there", dim=2)
                there.create_tenant("bolt")
                there.import_tenant(exported)
                db._let_go()
            assert contents(db.collection("there"), "acme") == contents(papers, "acme")
            assert db.collection("there").count("bolt") == 2


def test_names_and_shapes_must_fit(papers: Collection, memory: Database, exported: Path) -> None:
    with pytest.raises(AlreadyExists):
        papers.import_tenant(exported)
    with pytest.raises(Invalid, match="dim"):
        memory.create_collection("wide", dim=3).import_tenant(exported)
    with pytest.raises(Invalid, match="metric"):
        memory.create_collection("round", dim=2, metric="cosine").import_tenant(exported)


@pytest.fixture
def changed(papers: Collection, exported: Path) -> Collection:
    """acme after its export: 0 and 1 written anew, 2 and 3 deleted, 9000 new; 0 and 4 shown to cove, and nothing to bolt."""
    papers.upsert("acme", [Point(i, [7, 7], {"n": "new"}) for i in (0, 1, 9000)])
    papers.delete("acme", [2, 3])
    papers.grant("acme", [0, 4], to="cove")
    papers.revoke("acme", [1, 2000], from_="bolt")
    return papers


@pytest.mark.parametrize(("conflicts", "written", "kept", "bolt"), [("replace", 2499, {9000}, [1, 2000]), ("skip", 2, {0, 1, 9000}, [])])
def test_into_a_tenant_that_is_there(changed: Collection, exported: Path, conflicts: str, written: int, kept: set[int], bolt: list[int]) -> None:
    changed.grant("acme", [5], to="cove")
    changed.revoke("acme", [5], from_="readers")
    assert changed.import_tenant(exported, conflicts=conflicts) == written
    found = {record.id: record for record in changed.scroll("acme", limit=10_000, with_vector=True).records}
    assert found.keys() == {*range(2500), 9000, UUID_A} - {7, 8}
    assert {id for id, record in found.items() if record.payload == b'{"n":"new"}'} == kept
    assert all(found[i].vector.tolist() == [i, 1] and found[i].payload == b'{"n":%d}' % i for i in (2, 3, 4, 2000))
    assert sorted(record.id for record in changed.scroll("cove").records) == [0, 4, 5]
    assert [record.id for record in changed.scroll("bolt").records] == bolt
    assert changed.count("acme", {"must": [{"key": "n", "match": {"value": 0}}]}) == (0 not in kept)


@pytest.mark.parametrize("conflicts", ["refuse", "merge", None])
def test_a_tenant_that_is_there_is_left_alone_unless_it_is_said(changed: Collection, exported: Path, conflicts: str) -> None:
    before = contents(changed, "acme")
    with pytest.raises(AlreadyExists if conflicts == "refuse" else Invalid):
        changed.import_tenant(exported, conflicts=conflicts)
    with pytest.raises(AlreadyExists):
        changed.import_tenant(exported, "readers", conflicts="replace")
    assert contents(changed, "acme") == before


def test_an_import_into_a_tenant_counts_its_own_quota(changed: Collection, exported: Path) -> None:
    before, used = contents(changed, "acme"), changed.usage("acme")
    changed.set_quota("acme", Quota(vectors=2499))
    for conflicts in ("replace", "skip"):
        with pytest.raises(QuotaExceeded, match="2500"):
            changed.import_tenant(exported, conflicts=conflicts)
    assert contents(changed, "acme") == before
    changed.set_quota("acme", Quota(vectors=2500, bytes=used.vector_bytes + used.payload_bytes + 2 * 8 + 1))
    with pytest.raises(QuotaExceeded, match="bytes"):
        changed.import_tenant(exported, conflicts="skip")
    changed.set_quota("acme", Quota(vectors=2500))
    changed.import_tenant(exported, conflicts="skip")
    assert changed.tenant("acme").quota == Quota(vectors=2500) and changed.usage("acme").points == 2500


def test_an_import_into_a_tenant_is_there_again_after_a_crash(papers: Collection, exported: Path, quick_folder: Path) -> None:
    with Database.open(quick_folder / "db", index_type=PlainIndex, background=False) as db:
        there = db.create_collection("there", dim=2)
        there.create_tenant("acme")
        there.upsert("acme", [Point(i, [9, 9], {"mine": i}) for i in (*range(2000, 3000), 8)])
        there.import_tenant(exported, conflicts="replace")
        expected = contents(there, "acme")
        assert [id for id, payload, _ in expected if payload.startswith(b'{"mine"')] == [*range(2500, 3000), 8]
        shutil.copytree(quick_folder / "db", quick_folder / "crashed")
    with Database.open(quick_folder / "crashed", index_type=PlainIndex, background=False) as db:
        assert db.recovery.replayed > 0 and contents(db.collection("there"), "acme") == expected


def test_a_restored_backup_brings_back_a_dropped_tenant(papers: Collection, exported: Path) -> None:
    before = contents(papers, "acme")
    papers.drop_tenant("acme")
    papers.import_tenant(exported)
    assert contents(papers, "acme") == before
    assert papers.count("bolt") == 2


def test_a_damaged_file_imports_nothing(papers: Collection, exported: Path) -> None:
    whole = exported.read_bytes()
    for at in range(0, len(whole), 997):
        for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]):
            exported.write_bytes(broken)
            with pytest.raises(Damaged):
                papers.import_tenant(exported, "again")
    with pytest.raises(NotFound):
        papers.tenant("again")


def write_file(path: Path, changes: list[Change]) -> None:
    parts = [frames.header(MAGIC, 0, 1)]
    for sequence, change in enumerate(changes, 1):
        parts += frames.encode(change.SerializeToString(), sequence, 0, more=False)
    path.write_bytes(b"".join(parts))


HEADER = Change(export_header=pb.ExportHeader(config='{"name": "x", "dim": 2}', tenant="evil", quota='{"vectors": 1}'))
SMALL = st.integers(0, 3)
COLUMN = st.binary(max_size=16)
UPSERT = st.builds(lambda **fields: Change(upsert=pb.Upsert(**fields)), owner=SMALL, fresh=SMALL,
                   rows=st.sampled_from([b"", bytes(4), b"\1\0\0\0"]) | COLUMN,
                   keys_low=st.just(bytes(8)) | COLUMN, keys_high=st.just(b"") | COLUMN, vectors=st.just(bytes(8)) | COLUMN,
                   payload_sizes=st.just(b"\2\0\0\0") | COLUMN, payloads=st.just(b"{}") | COLUMN)
OTHERS = st.sampled_from([HEADER, Change(export_end=pb.ExportEnd(points=1)), Change(export_grant=pb.ExportGrant(to="bolt", rows=bytes(4))),
                          Change(drop_party=pb.DropParty(number=1)), Change(), Change(party=pb.Party(number=1, name="acme"))])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(UPSERT | OTHERS, max_size=5))
def test_a_hostile_file_is_refused_or_harmless(papers: Collection, tmp_path: Path, changes: list[Change]) -> None:
    write_file(tmp_path / "evil", [HEADER, *changes])
    try:
        count = papers.import_tenant(tmp_path / "evil")
    except DatabaseError:
        assert papers.tenants()[0].name == "acme"
    else:
        assert papers.count("evil") == count <= 1
        papers.drop_tenant("evil")
    papers.count("acme")
    papers.upsert("acme", [Point(1, [1, 2])])


def test_a_file_over_the_quota_that_it_brings(papers: Collection, tmp_path: Path) -> None:
    upsert = Change(upsert=pb.Upsert(fresh=2, rows=b"\0\0\0\0\1\0\0\0", keys_low=bytes(8) + b"\1" + bytes(7), vectors=bytes(16),
                                     payload_sizes=b"\2\0\0\0\2\0\0\0", payloads=b"{}{}"))
    write_file(tmp_path / "evil", [HEADER, upsert, Change(export_end=pb.ExportEnd(points=2))])
    with pytest.raises(QuotaExceeded):
        papers.import_tenant(tmp_path / "evil")


SPARSE = {"text": {"modifier": "bm25"}}


def test_sparse_vectors_come_along(memory: Database, tmp_path: Path) -> None:
    here, there = (memory.create_collection(name, dim=2, sparse=SPARSE) for name in ("here", "there"))
    here.create_tenant("acme")
    here.upsert("acme", [
        Point(i, [i, 1], None, {"text": Sparse([i % 3, 9], [i + 1, 1])} if i % 2 else None) for i in range(2500)])
    here.export_tenant("acme", tmp_path / "acme")
    assert there.import_tenant(tmp_path / "acme") == 2500
    query = Sparse([0, 1, 9], [1, 2, 1])
    assert list(there.search_sparse("acme", "text", query, 50)) == list(here.search_sparse("acme", "text", query, 50))
    assert there.usage("acme").vector_bytes == here.usage("acme").vector_bytes == 2500 * 8 + 1250 * 16


def test_sparse_vectors_of_a_file_are_checked(memory: Database, tmp_path: Path) -> None:
    counts = memory.create_collection("counts", dim=2, sparse={"text": {}})
    counts.create_tenant("acme")
    counts.upsert("acme", [Point(1, [1, 1], None, {"text": Sparse([1], [-1.0])})])
    counts.export_tenant("acme", tmp_path / "acme")
    for name, named, complaint in (("no", {}, "no sparse vectors 'text'"), ("bm25", SPARSE, "counts of terms")):
        with pytest.raises(Invalid, match=complaint):
            memory.create_collection(name, dim=2, sparse=named).import_tenant(tmp_path / "acme")
