"""The map's circles: inside their parents, apart from their siblings, as large as they are many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.vectordb.nested import Node, flatten, nest


def tree(sizes: list[int], seed: int) -> dict[int, Node]:
    """A root of that many children, the first of which has two of its own."""
    rng = np.random.default_rng(seed)
    nodes = {0: Node(None, sum(sizes), np.zeros(8, np.float32))}
    for number, size in enumerate(sizes, 1):
        nodes[number] = Node(0, size, rng.standard_normal(8, np.float32))
    for number in (100, 101):
        nodes[number] = Node(1, max(1, sizes[0] // 2), rng.standard_normal(8, np.float32))
    return nodes


@settings(max_examples=30)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=16), st.integers(0, 100))
def test_circles_lie_inside_their_parents_and_apart(sizes: list[int], seed: int) -> None:
    nodes = tree(sizes, seed)
    circles = nest(nodes)
    assert circles.keys() == nodes.keys() and circles[0].radius == 1
    for name, node in nodes.items():
        if node.parent is not None:
            inner, outer = circles[name], circles[node.parent]
            assert np.hypot(inner.x - outer.x, inner.y - outer.y) + inner.radius <= outer.radius + 1e-9
    for a in range(1, len(sizes) + 1):
        for b in range(1, a):
            one, other = circles[a], circles[b]
            assert np.hypot(one.x - other.x, one.y - other.y) >= one.radius + other.radius - 1e-9
            assert (one.radius / other.radius) ** 2 == pytest.approx(sizes[a - 1] / sizes[b - 1])


def test_points_in_one_place_are_flattened_to_the_middle() -> None:
    assert flatten(np.ones((5, 3), np.float32)).tolist() == [[0, 0]] * 5
    assert flatten(np.ones((1, 3), np.float32)).tolist() == [[0, 0]]


def test_flattening_keeps_the_widest_direction() -> None:
    points = np.array([[0, 0, 5], [0, 0, -5], [0, 1, 0], [0, -1, 0]], np.float32)
    flat = flatten(points)
    assert np.allclose(np.abs(flat), [[1, 0], [1, 0], [0, 1], [0, 1]], atol=1e-6) and flat[0, 0] == -flat[1, 0]
