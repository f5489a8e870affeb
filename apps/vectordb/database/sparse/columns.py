"""Sparse vectors from outside, checked, and as they are logged: columns of sizes, indices and values."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import Invalid
from ..model import NONZEROS_MAX, CollectionConfig, Sparse, SparseColumns, SparseParams
from ..records import pb
from ..vectors import COMPONENT_MAX

PAIR_BYTES = 8


def checked(name: str, params: SparseParams, given: Sequence[Sparse | None] | SparseColumns) -> SparseColumns:
    """As stored: u32, u32, f32, the indices of each vector ascending.

    Invalid for a vector with more or fewer values than indices, an index twice or that is none, NaN, infinity or a value over 1e15, more
    than NONZEROS_MAX numbers; with bm25 also for values that are no counts, which are above 0.
    """
    columns = given if isinstance(given, SparseColumns) else _joined(name, given)
    sizes, indices, values = map(np.asarray, columns)
    total = int(sizes.sum(dtype=np.int64)) if len(sizes) else 0
    if not total == len(indices) == len(values):
        raise Invalid(f"sparse vectors {name!r} have as many values as indices: not {len(indices)} indices and {len(values)} values for {total}")
    if int(sizes.max(initial=0)) > NONZEROS_MAX:
        raise Invalid(f"a sparse vector has at most {NONZEROS_MAX} numbers, not {int(sizes.max())}")
    _check_numbers(name, params, indices, values)
    return _sorted(name, SparseColumns(sizes.astype("<u4"), indices.astype("<u4"), values.astype("<f4")))


def checked_all(config: CollectionConfig, given: Mapping[str, Sequence[Sparse | None] | SparseColumns], points: int) -> dict[str, SparseColumns]:
    """By name, of so many points. Invalid also for a name that the collection has not."""
    found = {name: checked(name, config.sparse_params(name), each) for name, each in given.items()}
    for name, columns in found.items():
        if len(columns.sizes) != points:
            raise Invalid(f"a batch has as many sparse vectors {name!r} as ids, with None for points without: not {len(columns.sizes)} for {points}")
    return found


def _check_numbers(name: str, params: SparseParams, indices: np.ndarray, values: np.ndarray) -> None:
    if not len(indices):
        return
    if indices.dtype.kind not in "iu" or int(indices.min()) < 0 or int(indices.max()) >= 2**32:
        raise Invalid(f"an index of a sparse vector {name!r} is an integer from 0 to 2**32 - 1")
    if values.dtype.kind not in "fiu" or not float(np.abs(values).max()) <= COMPONENT_MAX:
        raise Invalid(f"a value of a sparse vector {name!r} is NaN, infinite, over {COMPONENT_MAX:g}, or no number")
    if params.modifier == "bm25" and not (values.astype(np.float32) > 0).all():
        raise Invalid(f"values of a sparse vector {name!r} are counts of terms: above 0")


def _joined(name: str, vectors: Sequence[Sparse | None]) -> SparseColumns:
    sizes, indices, values = [], [], []
    for each in vectors:
        if each is None:
            sizes.append(0)
            continue
        try:
            parts = np.asarray(each.indices), np.asarray(each.values)
        except (AttributeError, ValueError):
            raise Invalid(f"a sparse vector {name!r} has indices and values, which are lists of numbers") from None
        if not parts[0].ndim == parts[1].ndim == 1 or len(parts[0]) != len(parts[1]):
            raise Invalid(f"a sparse vector {name!r} has as many values as indices: not {parts[1].shape} and {parts[0].shape}")
        sizes.append(len(parts[0]))
        if sizes[-1]:
            indices.append(parts[0])
            values.append(parts[1])
    empty = [np.empty(0, np.uint32)]
    return SparseColumns(np.array(sizes, np.uint32), np.concatenate(indices or empty), np.concatenate(values or empty))


def _sorted(name: str, columns: SparseColumns) -> SparseColumns:
    of_vector = np.repeat(np.arange(len(columns.sizes), dtype=np.uint64), columns.sizes)
    pairs = of_vector << np.uint64(32) | columns.indices
    ascending = pairs[1:] > pairs[:-1]
    if ascending.all():
        return columns
    order = np.argsort(pairs)
    if (np.diff(pairs[order]) == 0).any():
        raise Invalid(f"an index is given twice in a sparse vector {name!r}")
    return SparseColumns(columns.sizes, columns.indices[order], columns.values[order])


def size_of(columns: SparseColumns) -> int:
    """In bytes, as a quota counts it."""
    return PAIR_BYTES * len(columns.indices)


def reordered(columns: SparseColumns, order: Sequence[int]) -> SparseColumns:
    """The vectors in that order."""
    starts = np.cumsum(columns.sizes, dtype=np.int64) - columns.sizes
    at = spans(starts[order], columns.sizes[order])
    return SparseColumns(columns.sizes[order], columns.indices[at], columns.values[at])


def spans(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """i64[sum of sizes]: start, start + 1, ..., of each in turn."""
    sizes = sizes.astype(np.int64)
    before = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) + np.repeat(starts.astype(np.int64) - before, sizes)


def message(name: str, columns: SparseColumns) -> pb.Sparse:
    return pb.Sparse(name=name, sizes=columns.sizes.tobytes(), indices=columns.indices.tobytes(), values=columns.values.tobytes())


def of_message(logged: pb.Sparse) -> SparseColumns:
    """ValueError when a column has no whole number of numbers."""
    return SparseColumns(*(np.frombuffer(column, kind) for column, kind in (
        (logged.sizes, "<u4"), (logged.indices, "<u4"), (logged.values, "<f4"))))
