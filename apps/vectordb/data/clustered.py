"""Nested Gaussian clusters shared by many tenants, of any size, from a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .sharing import share
from .splitting import split

# Standard deviations, a coordinate: of groups of clusters about the origin, clusters about their group, vectors about their cluster.
GROUP, CLUSTER, NOISE = 1.0, 0.5, 0.6
BLOCK = 65536  # vectors made at a time


def synthetic(n: int = 100_000, dim: int = 128, tenants: int = 1000, *, clusters: int = 400, per_vector: float = 9.9, local: float = 0.8,
              queries: int = 1000, seed: int = 0, name: str = "synthetic") -> Dataset:
    """n float32 vectors under l2. `local` is the share of a tenant's vectors in its own clusters; 0 is random access.

    Sizes follow Zipf's law (exponent 0.8); each query is one more such vector, held out. The same seed gives the same data.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, clusters, n + queries)
    vectors = around(rng, nested_centres(rng, clusters, dim), labels)
    access = share(rng, labels, tenants, per_vector, local)
    held = np.arange(n, n + queries)
    names = tuple(f"tenant-{number:04d}" for number in range(tenants))
    return split(rng, name, "l2", vectors, access, names, held)


def nested_centres(rng: np.random.Generator, clusters: int, dim: int) -> NDArray[np.float32]:
    """About √clusters groups of as many clusters each."""
    groups = max(1, round(clusters**0.5))
    middles = rng.standard_normal((groups, dim), np.float32) * np.float32(GROUP)
    return middles[np.arange(clusters) % groups] + rng.standard_normal((clusters, dim), np.float32) * np.float32(CLUSTER)


def around(rng: np.random.Generator, centres: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    vectors = np.empty((len(labels), centres.shape[1]), np.float32)
    for start in range(0, len(labels), BLOCK):
        block = vectors[start : start + BLOCK]
        rng.standard_normal(out=block, dtype=np.float32)
        block *= np.float32(NOISE)
        block += centres[labels[start : start + BLOCK]]
    return vectors
