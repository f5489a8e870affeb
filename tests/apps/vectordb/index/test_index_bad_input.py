"""What the index refuses, and that a refusal changes nothing."""

import numpy as np
import pytest

from apps.vectordb._curator import DuplicateId, Index, TenantUnloaded, UnknownId

ROW = np.ones((1, 4), np.float32)


@pytest.fixture
def index():
    index = Index(4)
    index.insert([1, 2, 3], np.eye(3, 4, dtype=np.float32), [10, 10, 20])
    index.grant([1], [20])
    yield index
    index.check()
    assert (len(index), index.count(10), index.count(20)) == (3, 2, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_numbers(index, bad):
    row = np.array([[1, 2, bad, 4]], np.float32)
    for change in (lambda: index.insert([9], row, [1]), lambda: index.update([1], row), lambda: index.search(row[0], 1, 10)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            change()


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 3), np.float32), np.ones((1, 5)), np.ones((1, 1, 4)), np.array([["a"] * 4]), np.ones((1, 4), int), np.ones((2, 4)), np.float32(1)],
)
def test_vectors_of_another_shape_or_type(index, vectors):
    with pytest.raises(ValueError):
        index.insert([9], vectors, [1])


@pytest.mark.parametrize("ids", [[-1], [1.5], ["x"], [2**64], [[9]], [True], [9, 10]])
def test_ids_that_are_none(index, ids):
    with pytest.raises(ValueError):
        index.insert(ids, ROW, [1])


@pytest.mark.parametrize("owner", [-1, 2**32, 0.5])
def test_tenants_that_are_none(index, owner):
    with pytest.raises(ValueError):
        index.insert([9], ROW, [owner])


def test_too_large_for_the_type_or_for_distances(index):
    half = Index(4, dtype="float16")
    with pytest.raises(ValueError, match="float16"):
        half.insert([1], ROW * 1e5, [1])
    with pytest.raises(ValueError, match="overflow"):
        index.insert([9], ROW * 1e30, [1])


def test_a_zero_vector_has_no_direction():
    index = Index(4, metric="cosine")
    with pytest.raises(ValueError, match="zero"):
        index.insert([1], ROW * 0, [1])
    index.insert([1], ROW, [1])
    with pytest.raises(ValueError, match="zero"):
        index.search(np.zeros(4), 1, 1)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("size", [1e-30, 1e-38, 1e-42, 1.4e-45])
def test_a_tiny_vector_has_a_direction(size, dtype):
    index = Index(4, metric="cosine", dtype=dtype)
    rows = np.eye(2, 4, dtype=np.float32)
    index.insert([1, 2], rows * np.float32(size), [1, 1])
    assert np.array_equal(index.vectors([1, 2]), rows)
    for query in rows, rows * np.float32(size):
        found, distances = index.search(query[1], 2, 1)
        assert (found.tolist(), distances.tolist()) == ([2, 1], [0, 1])


def test_ids_given_twice_or_there_already(index):
    for ids in ([9, 9], [9, 2]):
        with pytest.raises(DuplicateId):
            index.insert(ids, np.ones((2, 4)), [1, 1])
    with pytest.raises(DuplicateId):
        index.delete([1, 1])
    with pytest.raises(DuplicateId):
        index.update([1, 1], np.ones((2, 4)))
    assert 9 not in index


def test_unknown_ids(index):
    for change in (
        lambda: index.delete([1, 9]),
        lambda: index.update([9], ROW),
        lambda: index.grant([1, 9], [30, 30]),
        lambda: index.revoke([1, 9], [20, 20]),
        lambda: index.vectors([9]),
        lambda: index.owner(9),
        lambda: index.tenants(9),
    ):
        with pytest.raises(UnknownId, match="9"):
            change()
    assert index.count(30) == 0


def test_an_unknown_tenant_sees_nothing(index):
    assert index.count(77) == 0 and len(index.ids(77)) == 0 and index.drop_tenant(77) == 0
    assert len(index.search(ROW[0], 5, 77)[0]) == 0
    assert index.revoke([1], [77]) == 0


def test_k(index):
    for k in (0, -1):
        with pytest.raises((ValueError, TypeError)):
            index.search(ROW[0], k, 10)
    assert len(index.search(ROW[0], 50, 10)[0]) == 2


def test_only_an_empty_index_is_built(index):
    with pytest.raises(ValueError, match="empty"):
        index.build([9], ROW, [1])
    empty = Index(4)
    with pytest.raises(UnknownId):
        empty.build([9], ROW, [1], [8], [1])
    with pytest.raises(ValueError, match="both"):
        empty.build([9], ROW, [1], [9])
    assert len(empty) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"dim": 0}, {"dim": 70000}, {"metric": "l3"}, {"dtype": "int8"}, {"branching": 1}, {"branching": 33},
        {"leaf_max": 0}, {"shortlist_max": 0}, {"recall": 0.0},
    ],
)
def test_settings(settings):
    with pytest.raises(ValueError):
        Index(**{"dim": 4, **settings})


def test_a_tenant_that_rests():
    index = Index(4)
    index.insert([1, 2, 3], np.eye(3, 4), [10, 20, 20])
    index.grant([2, 3], [10, 10])
    blob = index.unload(10)
    for use in (
        lambda: index.search(ROW[0], 1, 10),
        lambda: index.ids(10),
        lambda: index.grant([2], [10]),
        lambda: index.revoke([2], [10]),
        lambda: index.insert([9], ROW, [10]),
        lambda: index.drop_tenant(10),
        lambda: index.unload(10),
    ):
        with pytest.raises(TenantUnloaded, match="reload"):
            use()
    index.delete(3)
    assert index.count(10) == 2
    index.check()
    damaged = [b"", blob[:20], blob[:-8], blob + b"x", b"x" + blob[1:], blob[:40] + bytes([blob[40] ^ 1]) + blob[41:]]
    for bad in damaged:
        with pytest.raises(ValueError, match="unload"):
            index.reload(10, bad)
    with pytest.raises(ValueError, match="not unloaded"):
        index.reload(20, blob)
    other = Index(4)
    other.unload(10)
    foreign = Index(4)
    foreign.insert([7], ROW, [10])
    with pytest.raises(ValueError, match="all that the tenant"):
        index.reload(10, foreign.unload(10))
    index.reload(10, blob)
    index.check()
    assert index.ids(10).tolist() == [1, 2]


def test_a_damaged_image(tmp_path):
    index = Index(4)
    rng = np.random.default_rng(0)
    index.insert(np.arange(600), rng.standard_normal((600, 4)), np.arange(600) % 3)
    index.unload(2)
    path = tmp_path / "image"
    index.cut().save(path)
    good = path.read_bytes()
    assert Index.load(path).count(2) == 200
    cuts = [0, 10, 63, 64, 70, 90, len(good) // 2, len(good) - 1]
    flips = rng.integers(0, len(good), 60)
    for bad in [good[:cut] for cut in cuts] + [good + b"\0"] + [good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :] for at in flips]:
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="image"):
            Index.load(path)
    with pytest.raises(OSError):
        Index.load(tmp_path / "none")
    with pytest.raises(OSError):
        index.cut().save(tmp_path / "no" / "such")
