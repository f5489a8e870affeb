"""Sparse vectors against what a few lines of Python say of the same points, for each tenant from what it sees."""
from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.vectordb.database import Collection, Database, DatabaseError, Invalid, Point, Points, Quota, QuotaExceeded, Search, Sparse
from apps.vectordb.database.model import NONZEROS_MAX, SparseColumns
from apps.vectordb.database.sparse import seen, store
from tests.apps.vectordb.database.plain_index import PlainIndex

TENANTS = "acme", "bolt", "cove"
SETTINGS = {"plain": {}, "text": {"modifier": "idf"}, "words": {"modifier": "bm25", "k1": 1.5, "b": 0.5}}
Terms = dict[int, float]


def sparse(terms: Terms) -> Sparse:
    return Sparse(list(terms), list(terms.values()))


class Model:
    """Points of all tenants, and who sees which."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], dict[str, Terms]] = {}
        self.seen: set[tuple[str, tuple[str, int]]] = set()

    def best(self, tenant: str, name: str, query: Terms, k: int, among: set[int] | None = None) -> list[tuple[str, int, float]]:
        docs = {point: terms for point, named in self.points.items() if (tenant, point) in self.seen and (terms := named.get(name))}
        frequency = {index: sum(index in terms for terms in docs.values()) for index in query}
        idf = {index: math.log(1 + (len(docs) - df + 0.5) / (df + 0.5)) for index, df in frequency.items()}
        mean = sum(sum(terms.values()) for terms in docs.values()) / max(1, len(docs))

        def weight(terms: Terms, index: int) -> float:
            count = terms[index]
            if name == "plain":
                return count
            held_back = 1.5 * (0.5 + 0.5 * sum(terms.values()) / mean) if name == "words" else 0
            return idf[index] * (count * 2.5 / (count + held_back) if name == "words" else count)

        scored = [(*point, sum(value * weight(terms, index) for index, value in query.items() if index in terms))
                  for point, terms in docs.items() if terms.keys() & query.keys() and (among is None or point[1] in among)]
        return sorted(scored, key=lambda each: -each[2])[:k]


def same(collection: Collection, model: Model, tenant: str, name: str, query: Terms, k: int, among: set[int] | None = None) -> None:
    where = None if among is None else {"must": [{"key": "n", "match": {"any": sorted(among)}}]}
    found = [(hit.owner, hit.id, -hit.distance) for hit in collection.search_sparse(tenant, name, sparse(query), k, where)]
    best = model.best(tenant, name, query, k, among)
    assert [score for *_, score in found] == pytest.approx([score for *_, score in best], rel=1e-4)
    everything = {point[:2]: point[2] for point in model.best(tenant, name, query, len(model.points), among)}
    assert len({point[:2] for point in found}) == len(found)
    for owner, id, score in found:
        assert everything[owner, id] == pytest.approx(score, rel=1e-4)


def terms_of(rng: random.Random) -> Terms:
    indices = (rng.choice((rng.randrange(8), rng.randrange(40), 2**32 - 1 - rng.randrange(3))) for _ in range(rng.randint(1, 6)))
    return {index: float(rng.randint(1, 5)) for index in indices}


def written(rng: random.Random) -> dict[str, Terms]:
    return {name: terms_of(rng) for name in SETTINGS if rng.random() < 0.8}


def step(rng: random.Random, collection: Collection, model: Model) -> None:
    """One change, at random."""
    owner, other = rng.sample(TENANTS, 2)
    ids = [rng.randrange(60) for _ in range(rng.randint(1, 8))]
    own = sorted({id for id in ids if (owner, id) in model.points})
    match rng.choice(("upsert", "upsert", "delete", "grant", "grant", "revoke", "vectors")):
        case "upsert":
            batch = {id: written(rng) for id in ids}
            collection.upsert(owner, [
                Point(id, [id, 1], {"n": id}, {name: sparse(terms) for name, terms in named.items()}) for id, named in batch.items()])
            for id, named in batch.items():
                model.points[owner, id] = named
                model.seen.add((owner, (owner, id)))
        case "vectors":
            columns = {id: terms_of(rng) for id in own}
            collection.upsert(owner, Points(own, np.ones((len(own), 2)), sparse={"text": [sparse(columns[id]) for id in own]}), keep_payloads=True)
            for id in own:
                model.points[owner, id] = {**model.points[owner, id], "text": columns[id]}
        case "delete":
            collection.delete(owner, ids)
            for id in own:
                del model.points[owner, id]
                model.seen = {(tenant, point) for tenant, point in model.seen if point != (owner, id)}
        case "grant":
            collection.grant(owner, own, to=other)
            model.seen |= {(other, (owner, id)) for id in own}
        case "revoke":
            collection.revoke(owner, own, from_=other)
            model.seen -= {(other, (owner, id)) for id in own}


def check(rng: random.Random, collection: Collection, model: Model) -> None:
    for tenant in TENANTS:
        for name in SETTINGS:
            same(collection, model, tenant, name, terms_of(rng), rng.choice((1, 5, 100)), rng.choice((None, set(range(20)))))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("patched", [True, False], ids=["patched", "made anew"])
def test_a_walk(quick_folder: Path, seed: int, patched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes, grants, snapshots, and a process that ends without one: at each moment every tenant finds the best of what it sees."""
    monkeypatch.setattr(seen, "PATCHED_MIN", 64 if patched else 0)
    monkeypatch.setattr(store, "GARBAGE_MIN", 40)
    rng, model = random.Random(seed), Model()
    db = Database.open(quick_folder / "db", index_type=PlainIndex, background=False)
    papers = db.create_collection("papers", dim=2, sparse=SETTINGS)
    for tenant in TENANTS:
        papers.create_tenant(tenant)
    for turn in range(60):
        step(rng, papers, model)
        check(rng, papers, model)
        if turn % 12 == 5:
            db.snapshot()
        if turn % 20 == 17:
            getattr(db, rng.choice(("close", "_let_go")))()
            db = Database.open(quick_folder / "db", index_type=PlainIndex, background=False)
            papers = db.collection("papers")
            check(rng, papers, model)
    for owner, id in model.points:
        record, = papers.get(owner, [id], with_vector=True)
        assert {name: dict(zip(each.indices.tolist(), each.values.tolist(), strict=True)) for name, each in record.sparse.items()} == \
            {name: terms for name, terms in model.points[owner, id].items() if terms}
    bytes_owned = sum(8 * len(terms) for (owner, _), named in model.points.items() if owner == "acme" for terms in named.values())
    usage = papers.usage("acme")
    assert usage.vector_bytes == usage.points * 8 + bytes_owned
    db.close()


@pytest.fixture
def texts(memory: Database) -> Collection:
    collection = memory.create_collection("texts", dim=2, sparse=SETTINGS)
    for name in TENANTS:
        collection.create_tenant(name)
    return collection


def filled(texts: Collection, tenant: str, count: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    texts.upsert(tenant, [Point(id, [id, 1], {"n": id}, {name: sparse(terms_of(rng)) for name in SETTINGS}) for id in range(count)])


@pytest.mark.parametrize("name", SETTINGS)
def test_what_others_write_changes_no_score(texts: Collection, name: str) -> None:
    """Frequencies, and mean lengths, are counted among what the tenant sees: to the last bit."""
    filled(texts, "acme", 30)
    query = Sparse([0, 1, 2, 3], [1.0, 1.0, 1.0, 1.0])
    before = [(hit.id, hit.distance) for hit in texts.search_sparse("acme", name, query, 30)]
    filled(texts, "bolt", 200, seed=1)
    texts.grant("bolt", list(range(50)), to="cove")
    texts.create_role("staff"), texts.add_member("staff", "cove"), texts.grant("bolt", list(range(99)), to="staff")
    assert [(hit.id, hit.distance) for hit in texts.search_sparse("acme", name, query, 30)] == before
    texts.grant("bolt", list(range(50)), to="acme")
    changed = [(hit.id, hit.distance) for hit in texts.search_sparse("acme", name, query, 100) if hit.owner == "acme"]
    assert (changed != before) == (name != "plain")
    texts.revoke("bolt", list(range(50)), from_="acme")
    assert [(hit.id, hit.distance) for hit in texts.search_sparse("acme", name, query, 30)] == before
    texts.drop_tenant("bolt")
    assert [(hit.id, hit.distance) for hit in texts.search_sparse("acme", name, query, 30)] == before
    assert not list(texts.search_sparse("cove", name, query, 30))


def test_a_filter_takes_from_results_and_not_from_statistics(texts: Collection) -> None:
    filled(texts, "acme", 30)
    query = Sparse([0, 1], [1.0, 2.0])
    everything = {hit.id: hit.distance for hit in texts.search_sparse("acme", "text", query, 30)}
    some = texts.search_sparse("acme", "text", query, 30, {"must": [{"key": "n", "range": {"lt": 10}}]})
    assert {hit.id: hit.distance for hit in some} == {id: distance for id, distance in everything.items() if id < 10}


def test_roles(texts: Collection) -> None:
    filled(texts, "acme", 10)
    texts.create_role("staff"), texts.add_member("staff", "bolt"), texts.grant("acme", [1, 2, 3], to="staff")
    model_query = Sparse(list(range(40)), [1.0] * 40)
    assert {hit.id for hit in texts.search_sparse("bolt", "plain", model_query, 10)} <= {1, 2, 3}
    texts.remove_member("staff", "bolt")
    assert not list(texts.search_sparse("bolt", "plain", model_query, 10))


def test_several_queries_are_each_answered(texts: Collection) -> None:
    filled(texts, "acme", 30)
    queries = [Sparse([2, 0], [1.0, 2.0]), Sparse([], []), Sparse([0, 2], [2.0, 1.0])]
    first, none, last = texts.search_sparse("acme", "text", queries, 5)
    assert not len(none) and list(first) == list(last) == list(texts.search_sparse("acme", "text", queries[0], 5)) and len(first) == 5


BAD = {
    "an index is given twice": Sparse([3, 1, 3], [1.0, 2.0, 3.0]),
    "as many values as indices": Sparse([1, 2], [1.0]),
    "NaN, infinite": Sparse([1, 2], [1.0, math.nan]),
    "NaN, infinite, over 1e\\+15": Sparse([1, 2], [1.0, math.inf]),
    "over 1e\\+15": Sparse([1], [1e16]),
    "an index of": Sparse([-1], [1.0]),
    "from 0 to 2": Sparse([2**32], [1.0]),
    "is an integer": Sparse([0.5], [1.0]),
    "or no number": Sparse([1], ["a"]),
    "lists of numbers": Sparse([[1], [2, 3]], [1.0, 1.0]),
    "has as many": Sparse([[1]], [[1.0]]),
    f"at most {NONZEROS_MAX} numbers": Sparse(range(NONZEROS_MAX + 1), [1.0] * (NONZEROS_MAX + 1)),
}


@pytest.mark.parametrize("complaint", BAD)
def test_what_is_no_sparse_vector_is_refused_whole(texts: Collection, complaint: str) -> None:
    good = Sparse([1], [1.0])
    for attempt in (lambda: texts.upsert("acme", [Point(1, [1, 1], None, {"text": good}), Point(2, [1, 1], None, {"text": BAD[complaint]})]),
                    lambda: texts.search_sparse("acme", "text", BAD[complaint], 5),
                    lambda: texts.fuse("acme", [Search([1, 1], 5), Search(BAD[complaint], 5, "text")], 5)):
        with pytest.raises(Invalid, match=complaint):
            attempt()
    assert texts.count("acme") == 0


def test_unsorted_indices_are_as_good_as_sorted_ones(texts: Collection) -> None:
    texts.upsert("acme", [Point(1, [1, 1], None, {"text": Sparse([9, 4, 7], [1, 2, 3])})])
    kept, = texts.get("acme", [1], with_vector=True)
    assert kept.sparse["text"].indices.tolist() == [4, 7, 9] and kept.sparse["text"].values.tolist() == [2, 3, 1]


def test_other_things_that_are_refused(texts: Collection, papers: Collection) -> None:
    good = Sparse([1], [1.0])
    attempts: list[tuple[str, Any]] = [
        ("no sparse vectors 'text': there are none", lambda: papers.upsert("acme", [Point(1, [1, 1], None, {"text": good})])),
        ("no sparse vectors 'text': there are none", lambda: papers.search_sparse("acme", "text", good, 5)),
        ("no sparse vectors 'tekst': there are 'plain'", lambda: texts.search_sparse("acme", "tekst", good, 5)),
        ("no sparse vectors ''", lambda: texts.fuse("acme", [Search(good, 5)], 5)),
        ("the query for sparse vectors 'text' is", lambda: texts.fuse("acme", [Search([1, 1], 5, "text")], 5)),
        ("counts of terms", lambda: texts.upsert("acme", [Point(1, [1, 1], None, {"words": Sparse([1], [0.0])})])),
        ("counts of terms", lambda: texts.upsert("acme", [Point(1, [1, 1], None, {"words": Sparse([1], [1e-60])})])),
        ("not 1 for 2", lambda: texts.upsert("acme", Points([1, 2], np.ones((2, 2)), sparse={"text": [good]}))),
        ("for 3", lambda: texts.upsert("acme", Points([1], np.ones((1, 2)), sparse={"text": SparseColumns(*map(np.array, ([3], [1, 2], [1, 2])))}))),
        ("k is from 1", lambda: texts.search_sparse("acme", "text", good, 0)),
        ("1 to 16 searches", lambda: texts.fuse("acme", [], 5)),
        ("1 to 16 searches", lambda: texts.fuse("acme", [Search([1, 1], 5)] * 17, 5)),
        ("k is from 1", lambda: texts.fuse("acme", [Search([1, 1], 0)], 5)),
        ("rrf, dbsf", lambda: texts.fuse("acme", [Search([1, 1], 5)], 5, "mean")),
        ("rrf_k", lambda: texts.fuse("acme", [Search([1, 1], 5)], 5, rrf_k=0)),
        ("a weight for each", lambda: texts.fuse("acme", [Search([1, 1], 5)], 5, weights=[1.0, 2.0])),
        ("a weight for each", lambda: texts.fuse("acme", [Search([1, 1], 5)], 5, weights=[math.nan])),
        ("a weight for each", lambda: texts.fuse("acme", [Search([1, 1], 5)], 5, rrf_k=1, weights=[1e300])),
        ("recall is above 0", lambda: texts.fuse("acme", [Search([1, 1], 5, recall=1.5)], 5)),
    ]
    for complaint, attempt in attempts:
        with pytest.raises(Invalid, match=complaint):
            attempt()
    assert texts.count("acme") == papers.count("acme") == 0


def test_settings_that_are_refused(memory: Database) -> None:
    for settings in ({"text": {"modifier": "tfidf"}}, {"": {}}, {f"n{at}": {} for at in range(9)}, {"text": {"modifier": "bm25", "b": 2}}):
        with pytest.raises(Invalid):
            memory.create_collection("c", dim=2, sparse=settings)


def test_sparse_vectors_count_in_a_quota_of_bytes(texts: Collection) -> None:
    texts.set_quota("acme", Quota(bytes=2 * 4 + 2 + 3 * 8))
    vector = Sparse([1, 2, 3], [1, 1, 1])
    with pytest.raises(QuotaExceeded):
        texts.upsert("acme", [Point(1, [1, 1], None, {"text": vector, "plain": Sparse([1], [1])})])
    texts.upsert("acme", [Point(1, [1, 1], None, {"text": vector})])
    texts.upsert("acme", [Point(1, [1, 1], None, {"plain": vector})])  # in the place of the other
    with pytest.raises(QuotaExceeded):
        texts.upsert("acme", Points([1], np.ones((1, 2)), sparse={"text": [vector]}), keep_payloads=True)


@pytest.fixture
def real() -> Iterator[Collection]:
    """With the index itself, which may be read while it is written."""
    with Database.open(None, background=False) as db:
        collection = db.create_collection("texts", dim=2, sparse=SETTINGS)
        for name in TENANTS:
            collection.create_tenant(name)
        yield collection


def test_searches_while_others_write(real: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point has the same vector whenever it is there: whoever searches finds nothing else, and what it wrote itself."""
    monkeypatch.setattr(store, "GARBAGE_MIN", 100)
    texts = real
    stop, errors = threading.Event(), list[BaseException]()

    def churn() -> None:
        rng = random.Random(0)
        try:
            while not stop.is_set():
                ids = rng.sample(range(500), 20)
                texts.upsert("bolt", [Point(id, [1, 1], None, {"plain": Sparse([id % 7, 7], [id + 1.0, 1.0])}) for id in ids])
                texts.grant("bolt", ids[:10], to="acme")
                texts.delete("bolt", ids[:5])
        except DatabaseError as error:
            errors.append(error)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for turn in range(150):
            texts.upsert("acme", [Point(turn, [1, 1], None, {"plain": Sparse([7, 100 + turn], [1.0, 5.0])})])
            mine, = texts.search_sparse("acme", "plain", Sparse([100 + turn], [1.0]), 3)
            assert (mine.owner, mine.id) == ("acme", turn)
            for hit in texts.search_sparse("acme", "plain", Sparse([turn % 7, 7], [1.0, 0.0]), 20):
                assert -hit.distance == (0.0 if hit.owner == "acme" or hit.id % 7 != turn % 7 else hit.id + 1.0)
    finally:
        stop.set()
        thread.join()
    assert not errors
