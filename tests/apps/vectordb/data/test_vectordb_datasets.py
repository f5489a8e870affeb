"""Data sets: what they promise of access, queries and exact answers, on small ones; and the cache that keeps them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from apps.vectordb.data import CASES, NO_ID, Case, Dataset, cache, load, synthetic
from apps.vectordb.data.sharing import SKEW, share, tenant_sizes


@pytest.fixture(scope="module")
def small() -> Dataset:
    return synthetic(n=3000, dim=16, tenants=40, clusters=25, queries=60)


def same(a: Dataset, b: Dataset) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Dataset))


def test_a_seed_gives_the_same_data_and_another_seed_other_data(small: Dataset) -> None:
    assert same(small, synthetic(n=3000, dim=16, tenants=40, clusters=25, queries=60))
    assert not np.array_equal(small.vectors, synthetic(n=3000, dim=16, tenants=40, clusters=25, queries=60, seed=1).vectors)


def test_shapes_and_types(small: Dataset) -> None:
    assert small.vectors.shape == (3000, 16) and small.vectors.dtype == np.float32 and small.vectors.flags.c_contiguous
    assert small.queries.shape == (60, 16) and small.queries.dtype == np.float32
    assert small.owners.dtype == small.grant_tenants.dtype == np.uint32 and small.grant_ids.dtype == np.uint64
    for case in CASES:
        assert small.query_tenants(case).shape == (60,) and small.query_tenants(case).dtype == np.uint32
    assert len(small.tenant_names) == 40 and small.tenant_names[small.tenant("tenant-0007")] == "tenant-0007"


def test_grants_name_no_pair_twice_and_no_owner(small: Dataset) -> None:
    granted = set(zip(small.grant_ids.tolist(), small.grant_tenants.tolist(), strict=True))
    assert len(granted) == len(small.grant_ids)
    assert not granted & set(zip(small.ids.tolist(), small.owners.tolist(), strict=True))


def test_visible_is_what_owners_and_grants_say(small: Dataset) -> None:
    for tenant in range(40):
        expected = set(small.ids[small.owners == tenant].tolist()) | set(small.grant_ids[small.grant_tenants == tenant].tolist())
        assert small.visible(tenant).tolist() == sorted(expected) and small.sizes[tenant] == len(expected)


def test_tenants_are_of_very_unequal_size_and_share() -> None:
    sizes = tenant_sizes(100_000, 1000, 9.9)
    assert sizes.sum() == pytest.approx(990_000, rel=0.01) and sizes[0] == 20_000
    assert sizes[999] / sizes[499] == pytest.approx(2**-SKEW, rel=0.02)


def test_tenants_keep_to_their_clusters_unless_access_is_random() -> None:
    def in_most_seen_cluster(local: float) -> float:
        access = share(np.random.default_rng(0), np.arange(10_000) % 100, 100, 5, local)
        seen = [np.concatenate([np.flatnonzero(access.owners == tenant), access.ids[access.tenants == tenant]]) for tenant in range(50, 100)]
        return float(np.mean([np.bincount(ids.astype(int) % 100).max() / len(ids) for ids in seen]))

    assert in_most_seen_cluster(0.8) > 3 * in_most_seen_cluster(0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_truth_is_what_a_plain_loop_finds(small: Dataset, case: Case, metric: str) -> None:
    vectors, queries = small.vectors, small.queries
    if metric == "cosine":
        vectors, queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, queries))
    data = Dataset(**{field.name: getattr(small, field.name) for field in fields(Dataset)} | {
        "metric": metric, "vectors": vectors, "queries": queries})
    truth = data.truth(case, 5)
    for query, tenant, ids, distances in zip(queries, data.query_tenants(case), *truth, strict=True):
        seen = data.visible(tenant)
        exact = 1 - vectors[seen] @ query if metric == "cosine" else ((vectors[seen] - query) ** 2).sum(axis=1)
        assert np.allclose(distances, np.sort(exact)[:5], rtol=1e-4, atol=1e-4)
        assert set(ids.tolist()) == set(seen[np.argsort(exact)[:5]].tolist())
    assert data.recall(case, truth.ids).tolist() == [1.0] * 60


def test_a_tenant_of_fewer_than_k_vectors_has_padded_answers() -> None:
    data = Dataset("few", "l2", np.eye(3, dtype=np.float32), np.array([0, 1, 1], np.uint32), np.array([0], np.uint64), np.array([1], np.uint32),
                   ("a", "b"), np.eye(3, dtype=np.float32)[:2], np.array([0, 1], np.uint32), np.array([1, 0], np.uint32))
    truth = data.truth("correlated", 2)
    assert truth.ids[0].tolist() == [0, NO_ID] and truth.distances[0, 1] == np.inf
    assert data.recall("correlated", np.array([[0, NO_ID], [1, NO_ID]], np.uint64)).tolist() == [1.0, 0.5]


def test_recall_counts_equals_but_nothing_out_of_sight() -> None:
    vectors = np.array([[0, 0], [1, 0], [1, 0], [0.1, 0]], np.float32)
    data = Dataset("ties", "l2", vectors, np.array([0, 0, 0, 1], np.uint32), np.empty(0, np.uint64), np.empty(0, np.uint32),
                   ("a", "b"), np.zeros((1, 2), np.float32), np.array([0], np.uint32), np.array([0], np.uint32))
    assert data.recall("correlated", np.array([[0, 2]], np.uint64)).tolist() == [1.0]
    assert data.recall("correlated", np.array([[0, 3]], np.uint64)).tolist() == [0.5]


class TestCache:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def test_the_second_time_it_is_read(self, small: Dataset, tmp_path: Path) -> None:
        assert same(cache.cached("some", lambda: small), small)
        assert same(cache.cached("some", lambda: pytest.fail("built again")), small)
        assert [path.name for path in cache.folder().iterdir()] == [f"some-v{cache.VERSION}.npz"]
        assert cache.folder().is_relative_to(tmp_path)

    def test_texts_and_names_come_back(self, small: Dataset) -> None:
        told = Dataset(**{field.name: getattr(small, field.name) for field in fields(Dataset)} | {"texts": ("é", "", "two\nlines") * 1000})
        cache.write(cache.place("some"), told)
        back = cache.read(cache.place("some"))
        assert back.texts == told.texts and back.tenant_names == told.tenant_names and back.metric == "l2"

    @pytest.mark.parametrize("at", [0, 50_000, -30])
    def test_a_damaged_file_is_built_again(self, small: Dataset, at: int) -> None:
        path = cache.place("some")
        cache.write(path, small)
        data = bytearray(path.read_bytes())
        data[at] ^= 0xFF
        path.write_bytes(data)
        assert same(cache.cached("some", lambda: small), small)
        assert same(cache.read(path), small)

    def test_a_cut_file_is_built_again(self, small: Dataset) -> None:
        path = cache.place("some")
        cache.write(path, small)
        path.write_bytes(path.read_bytes()[:1000])
        assert same(cache.cached("some", lambda: small), small)

    def test_a_build_that_fails_leaves_nothing(self, small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="no space"):
            cache.cached("some", lambda: small)
        assert list(cache.folder().iterdir()) == []


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no data set 'sift': there are synthetic,"):
        load("sift")
