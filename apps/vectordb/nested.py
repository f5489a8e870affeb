"""A tree as circles within circles: each node a disc in its parent's, its area by its size, like centroids side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 400  # of pushing overlapping circles apart
PULL = 0.15  # towards the middle, each round but the last ones
MARGIN = 0.96  # of a circle is for the circles in it


@dataclass(frozen=True)
class Node:
    parent: Hashable | None
    size: int
    centroid: NDArray[np.float32]


@dataclass(frozen=True)
class Circle:
    x: float
    y: float
    radius: float


def nest(nodes: Mapping[Hashable, Node]) -> dict[Hashable, Circle]:
    """A circle for every node; the root's is the unit circle. Parents come before their children in `nodes`."""
    children: dict[Hashable | None, list[Hashable]] = {}
    for name, node in nodes.items():
        children.setdefault(node.parent, []).append(name)
    (root,) = children[None]
    placed = {root: Circle(0, 0, 1)}
    for parent in nodes:
        inner = children.get(parent, [])
        if inner:
            around = placed[parent]
            at, radii = pack(flatten(np.stack([nodes[name].centroid for name in inner])), np.array([nodes[name].size for name in inner]))
            for name, (x, y), radius in zip(inner, at * around.radius, radii * around.radius, strict=True):
                placed[name] = Circle(around.x + x, around.y + y, radius)
    return placed


def flatten(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """[n, d] to [n, 2]: the first two principal components, both as wide, at most 1 long; each axis points where its largest value is."""
    centred = points - points.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(points), 2))
    width = min(2, np.count_nonzero(values > 1e-6))
    flat[:, :width] = left[:, :width]
    for axis in flat.T:
        if axis[np.argmax(np.abs(axis))] < 0:
            axis *= -1
    return flat / max(np.linalg.norm(flat, axis=1).max(initial=0), 1e-9)


def pack(start: NDArray[np.float64], sizes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres [n, 2] and radii [n] of circles of these areas that do not overlap, inside the unit circle, near where they start."""
    radii = np.sqrt(sizes / sizes.sum())
    at = start + np.stack([np.cos(np.arange(len(start))), np.sin(np.arange(len(start)))], axis=1) * 1e-3  # no two in one place
    for turn in range(ROUNDS):
        apart = at[:, None] - at[None, :]
        distance = np.maximum(np.linalg.norm(apart, axis=2), 1e-9)
        overlap = np.maximum(radii[:, None] + radii[None, :] - distance, 0)
        np.fill_diagonal(overlap, 0)
        pull = PULL * max(0, 1 - 1.2 * turn / ROUNDS)
        at = at * (1 - pull) + (apart / distance[:, :, None] * overlap[:, :, None]).sum(axis=1) / 2
    return fit(at, shrink(at, radii))


def shrink(at: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """All radii by one factor, so that no two circles overlap."""
    distance = np.linalg.norm(at[:, None] - at[None, :], axis=2)
    np.fill_diagonal(distance, np.inf)
    return radii * min(1.0, (distance / (radii[:, None] + radii[None, :])).min())


def fit(at: NDArray[np.float64], radii: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Moved and scaled to the middle of the unit circle, up to MARGIN."""
    low, high = (at - radii[:, None]).min(axis=0), (at + radii[:, None]).max(axis=0)
    at = at - (low + high) / 2
    scale = MARGIN / (np.linalg.norm(at, axis=1) + radii).max()
    return at * scale, radii * scale
