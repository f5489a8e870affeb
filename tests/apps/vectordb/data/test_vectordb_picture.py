"""The map: drawn for real trees, each vector in a circle of its tenant's tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.vectordb import picture
from apps.vectordb.data import Dataset, synthetic


@pytest.fixture(scope="module")
def data() -> Dataset:
    made = synthetic(n=3000, dim=8, tenants=5, clusters=16, per_vector=1.5, queries=10)
    return Dataset(**{**made.__dict__, "texts": tuple(f"text about subject{number % 7}" for number in range(3000))})


def test_vectors_end_in_the_shortlists_of_the_tree(data: Dataset) -> None:
    index, everybody = picture.build(data)
    for tenant in (0, 4, everybody):
        ids = data.ids if tenant == everybody else data.visible(tenant)
        nodes, lists = picture.tree_of(index, tenant)
        homes = picture.descend(nodes, data.vectors[ids])
        assert set(homes.tolist()) <= lists
        held = {node: int((homes == node).sum()) for node in lists}
        alike = sum(min(held[node], nodes[node].size) for node in lists)
        assert alike >= 0.9 * len(ids)  # the index places by its own arithmetic, near borders otherwise than numpy


def test_a_map_is_drawn_and_an_unknown_tenant_refused(data: Dataset, tmp_path: Path) -> None:
    index, everybody = picture.build(data)
    figure = picture.draw(data, index, everybody, ["tenant-0000", "tenant-0003"])
    figure.savefig(tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 20_000
    assert [axes.get_title() for axes in figure.axes][0].startswith(f"tenant-0000: {data.sizes[0]:,} of 3,000 vectors")
    drawn = np.concatenate([points.get_offsets() for points in figure.axes[1].collections if points.get_offsets().shape[0] > 1])
    assert len(drawn) == data.sizes[3] and np.hypot(*drawn.T).max() <= 1
    with pytest.raises(KeyError):
        picture.draw(data, index, everybody, ["nobody"])
