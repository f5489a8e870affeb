"""Takes vectors out of a set to be its queries, and chooses who asks them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Metric
from .sharing import Access


def split(rng: np.random.Generator, name: str, metric: Metric, vectors: NDArray[np.float32], access: Access,
          tenant_names: tuple[str, ...], held: NDArray[np.int64], texts: tuple[str, ...] = ()) -> Dataset:
    """The vectors `held` become queries, in this order; the others are numbered anew, in theirs."""
    kept = np.ones(len(vectors), bool)
    kept[held] = False
    rest = restrict(access, kept)
    sizes = np.bincount(np.concatenate([rest.owners, rest.tenants]), minlength=len(tenant_names))
    return Dataset(name, metric, vectors[kept], *rest, tenant_names, vectors[held], askers(rng, access, held), strangers(rng, sizes, len(held)),
                   tuple(text for text, stays in zip(texts, kept, strict=True) if stays) if texts else ())


def restrict(access: Access, kept: NDArray[np.bool_]) -> Access:
    number = np.cumsum(kept, dtype=np.uint64) - np.uint64(1)
    stays = kept[access.ids]
    return Access(access.owners[kept], number[access.ids[stays]], access.tenants[stays])


def askers(rng: np.random.Generator, access: Access, held: NDArray[np.int64]) -> NDArray[np.uint32]:
    """For each held-out vector one of the tenants that see it."""
    ids = held.astype(np.uint64)
    first, last = np.searchsorted(access.ids, ids), np.searchsorted(access.ids, ids, side="right")
    pick = first + rng.integers(0, last - first + 1)  # one past the grants stands for the owner
    granted = np.append(access.tenants, np.uint32(0))[pick]
    return np.where(pick < last, granted, access.owners[held]).astype(np.uint32)


def strangers(rng: np.random.Generator, sizes: NDArray[np.int64], queries: int) -> NDArray[np.uint32]:
    """Tenants drawn without a look at the query: about half of them evenly, half by size, so that every size class asks."""
    evenly = rng.choice(np.flatnonzero(sizes), queries)
    by_size = rng.choice(len(sizes), queries, p=sizes / sizes.sum())
    return np.where(rng.random(queries) < 0.5, evenly, by_size).astype(np.uint32)
