"""Who sees what: tenants of very unequal size who mostly look at clusters of their own, and overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SKEW = 0.8  # Zipf's exponent of the tenants' sizes
LARGEST = 0.2  # the largest tenant sees at most this share of all vectors
ROUNDS = 8  # enough for the sizes to add up
DENSITY = 0.5  # of its own clusters a tenant sees about half


class Access(NamedTuple):
    """Owners of n vectors, and grants as pairs in the order of their ids."""

    owners: NDArray[np.uint32]  # [n]
    ids: NDArray[np.uint64]  # [g]
    tenants: NDArray[np.uint32]  # [g]


def share(rng: np.random.Generator, clusters: NDArray[np.int64], tenants: int, per_vector: float, local: float) -> Access:
    """Access to vectors whose cluster numbers are given.

    A vector is seen by about `per_vector` tenants, at least by its owner, one of them drawn at random; a tenant draws the
    share `local` of its vectors from clusters of its own, the rest from everywhere.
    """
    members = np.split(np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters))[:-1])
    sizes = tenant_sizes(len(clusters), tenants, per_vector)
    seen = [draw(rng, members, len(clusters), size, local) for size in sizes]
    return settle(rng, len(clusters), np.concatenate(seen), np.repeat(np.arange(tenants), [len(ids) for ids in seen]), sizes)


def tenant_sizes(vectors: int, tenants: int, per_vector: float) -> NDArray[np.int64]:
    """Descending: Zipf's law, cut off at LARGEST of all vectors; what is cut off goes to the others."""
    total, most = vectors * per_vector, vectors * LARGEST
    sizes = np.arange(1, tenants + 1) ** -SKEW
    for _ in range(ROUNDS):
        sizes = np.minimum(sizes * total / sizes.sum(), most)
    return np.maximum(sizes, 1).astype(np.int64)


def draw(rng: np.random.Generator, members: list[NDArray[np.int64]], vectors: int, size: int, local: float) -> NDArray[np.int64]:
    """Distinct vectors of one tenant, about `size` of them."""
    near = round(size * local)
    order, own, held = rng.permutation(len(members)), [], 0
    while held * DENSITY < near and len(own) < len(order):
        own.append(members[order[len(own)]])
        held += len(own[-1])
    pool = np.concatenate([*own, np.empty(0, np.int64)]) if own else np.empty(0, np.int64)
    here = rng.choice(pool, min(near, len(pool)), replace=False)
    return np.union1d(here, rng.choice(vectors, size - near, replace=False))


def settle(rng: np.random.Generator, vectors: int, ids: NDArray[np.int64], tenants: NDArray[np.int64],
           sizes: NDArray[np.int64]) -> Access:
    """Makes one random pair of each vector its owner, and owners for vectors that nobody drew; the other pairs are grants."""
    order = rng.permutation(len(ids))
    ids, tenants = ids[order], tenants[order]
    chosen, first = np.unique(ids, return_index=True)
    owners = rng.choice(len(sizes), vectors, p=sizes / sizes.sum()).astype(np.uint32)
    owners[chosen] = tenants[first]
    granted = np.ones(len(ids), bool)
    granted[first] = False
    return by_id(owners, ids[granted], tenants[granted])


def by_id(owners: NDArray[np.uint32], ids: NDArray[np.int64], tenants: NDArray[np.int64]) -> Access:
    order = np.lexsort((tenants, ids))
    return Access(owners, ids[order].astype(np.uint64), tenants[order].astype(np.uint32))
