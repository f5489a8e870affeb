"""`python -m apps.vectordb.picture --tenant music --tenant plants -o map.png`: tenants' trees over the tree of all, as a map.

Every circle is a node of the global clustering tree; circles within it are its children, its area is its number of vectors, and
like lies by like (two principal components of the centroids). Grey is everybody's. Coloured is the tenant's own tree: where it
ends, a shortlist; each dot is one of its vectors. Where a tenant has much, its tree goes deep; where it has little, it ends high.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle as Disc
from rich.console import Console

from ._curator import Index
from .data import Dataset, MissingSource, load_texts
from .data.words import TOO_COMMON, WORD
from .nested import Circle, Node, flatten, nest

TENANTS = ("music", "plants")
COLOURS = ("#0b7a75", "#c1440e", "#5b3fa0", "#8a6d00")
PAPER, LINE, INK = "#fcfbf8", "#d9d6ce", "#33312c"
SAMPLE = 10  # every so many vectors are read to name the regions
Tree = dict[int, Node]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.vectordb.picture", description="Tenants' trees as a map")
    parser.add_argument("--tenant", action="append", metavar="NAME", help="a word of the texts; give it again for another map beside it")
    parser.add_argument("-o", "--output", type=Path, default=Path("map.png"), help="a .png, .svg or .pdf file (map.png)")
    options = parser.parse_args()
    console = Console()
    try:
        with console.status("Building the index …"):
            data = load_texts()
            index, everybody = build(data)
        figure = draw(data, index, everybody, options.tenant or list(TENANTS))
    except (MissingSource, KeyError) as error:
        raise SystemExit(f"picture: {error}" if isinstance(error, MissingSource) else f"picture: no tenant {error}") from None
    figure.savefig(options.output)
    console.print(f"{options.output}")


def build(data: Dataset) -> tuple[Index, int]:
    """The index of the data, and one more tenant, who sees everything: its tree is the global one."""
    index = Index(data.dim, metric=data.metric)
    index.build(data.ids, data.vectors, data.owners, data.grant_ids, data.grant_tenants)
    everybody = len(data.tenant_names)
    index.grant(data.ids, np.full(len(data), everybody, np.uint32))
    return index, everybody


def tree_of(index: Index, tenant: int) -> tuple[Tree, set[int]]:
    """Nodes, parents first, and which of them are shortlists."""
    entries = index.tenant_tree(tenant)
    nodes: Tree = {node: Node(parent, size, index.centroid(node)) for node, parent, _, size, _ in entries}
    return nodes, {node for node, *_, is_list in entries if is_list}


def draw(data: Dataset, index: Index, everybody: int, names: list[str]) -> Figure:
    """One map a tenant, side by side. KeyError for an unknown name."""
    matplotlib.rcParams["font.family"] = "DejaVu Sans"
    whole, _ = tree_of(index, everybody)
    circles, regions = nest(whole), place_names(data, whole)
    figure = Figure(figsize=(8 * len(names), 8.8), dpi=100, facecolor=PAPER, layout="constrained")
    for axes, name, colour in zip(np.atleast_1d(figure.subplots(1, len(names))), names, COLOURS, strict=False):
        ground(axes, circles)
        draw_tenant(axes, data, index, whole, circles, name, colour)
        write_names(axes, circles, regions)
    figure.supxlabel("Grey: the tree of all vectors. Coloured: the tenant's own tree, its shortlists filled. A dot is a vector.",
                     color=INK, fontsize=14)
    return figure


def ground(axes: Axes, circles: dict[int, Circle]) -> None:
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    axes.axis("off")
    axes.add_collection(discs(circles.values(), facecolor="#8f8a7d0d", edgecolor=LINE, linewidth=0.6))


def discs(circles, **style) -> PatchCollection:
    return PatchCollection([Disc((circle.x, circle.y), circle.radius) for circle in circles], **style)


def shade(share: float) -> float:
    """How strong the colour of a node is, of whose vectors the tenant has this share."""
    return 0.08 + 0.5 * min(1.0, share * 4) ** 0.5


def draw_tenant(axes: Axes, data: Dataset, index: Index, everybody: Tree, circles: dict[int, Circle], name: str, colour: str) -> None:
    number = data.tenant(name)
    nodes, lists = tree_of(index, number)
    known = [node for node in nodes if node in circles]
    axes.add_collection(discs((circles[node] for node in known if node not in lists), facecolor="none", edgecolor=colour, linewidth=1.1))
    ends = [node for node in known if node in lists]
    axes.add_collection(discs((circles[node] for node in ends), edgecolor=colour, linewidth=0.9, facecolor=[
        to_rgba(colour, shade(nodes[node].size / everybody[node].size)) for node in ends]))
    ids = data.visible(number)
    homes = descend(nodes, data.vectors[ids])
    dots = np.concatenate([scatter(circles[home], data.vectors[ids[homes == home]]) for home in np.unique(homes) if home in circles])
    axes.scatter(*dots.T, s=5, color=colour, linewidth=0)
    axes.set_title(f"{name}: {len(ids):,} of {len(data):,} vectors, {len(lists)} shortlists", color=colour, fontsize=17, pad=6)


def descend(nodes: Tree, vectors: np.ndarray) -> np.ndarray:
    """The node of the tree in which each vector ends, going to the nearest child each time [n]."""
    children: dict[int | None, list[int]] = {}
    for name, node in nodes.items():
        children.setdefault(node.parent, []).append(name)
    homes = np.full(len(vectors), children[None][0])
    for name in nodes:
        inside = np.flatnonzero(homes == name)
        if name in children and len(inside):
            centroids = np.stack([nodes[child].centroid for child in children[name]])
            far = (centroids**2).sum(axis=1) - 2 * vectors[inside] @ centroids.T
            homes[inside] = np.array(children[name])[far.argmin(axis=1)]
    return homes


def scatter(circle: Circle, vectors: np.ndarray) -> np.ndarray:
    """Places of a node's vectors in its circle [n, 2]."""
    return np.array([circle.x, circle.y]) + flatten(vectors) * circle.radius * 0.8


def place_names(data: Dataset, nodes: Tree) -> dict[int, str]:
    """What the regions right below the root are about: of each the word that is common there and rare elsewhere, or ""."""
    sample = data.ids[::SAMPLE]
    regions = np.array([region_of(home, nodes) for home in descend(nodes, data.vectors[sample])])
    counts = {region: Counter(word for number in sample[regions == region] for word in words(data.texts[number])) for region in set(regions)}
    everywhere = sum(counts.values(), Counter())
    telling = {word for word, count in everywhere.items() if count < len(sample) * TOO_COMMON}
    return {region: max(here.keys() & telling, key=lambda word: here[word] ** 2 / (everywhere[word] + 20), default="")
            for region, here in counts.items()}


def write_names(axes: Axes, circles: dict[int, Circle], names: dict[int, str]) -> None:
    for region, name in names.items():
        circle = circles[region]
        axes.text(circle.x, circle.y + circle.radius * 0.9, name, ha="center", va="center", fontsize=13, color=INK, style="italic",
                  path_effects=[patheffects.withStroke(linewidth=4, foreground=PAPER)])


def words(text: str) -> set[str]:
    return {word for word in WORD.findall(text.lower()) if len(word) > 3}


def region_of(node: int, nodes: Tree) -> int:
    """Its ancestor, or itself, right below the root."""
    while (parent := nodes[node].parent) is not None and nodes[parent].parent is not None:
        node = parent
    return node


if __name__ == "__main__":
    main()
