"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable

from .cache import cached
from .clustered import synthetic
from .dataset import Dataset
from .embed import Report
from .fashion import fashion_mnist
from .packages import packages
from .sources import MissingSource
from .wordnet import wordnet

BUILDERS: dict[str, Callable[[Report], Dataset]] = {
    "synthetic": lambda report: synthetic(),
    "synthetic-random": lambda report: synthetic(local=0, name="synthetic-random"),
    "synthetic-1m": lambda report: synthetic(n=1_000_000, name="synthetic-1m"),
    "wordnet": wordnet,
    "packages": packages,
    "fashion-mnist": fashion_mnist,
}
NAMES = tuple(BUILDERS)


def load(name: str, report: Report = lambda done, total: None) -> Dataset:
    """The data set of this name (NAMES), built at its first use. ValueError for another name, MissingSource."""
    if name not in BUILDERS:
        raise ValueError(f"no data set {name!r}: there are {', '.join(NAMES)}")
    return cached(name, lambda: BUILDERS[name](report))


def load_texts(report: Report = lambda done, total: None) -> Dataset:
    """WordNet, or Debian's package descriptions where it is not installed."""
    try:
        return load("wordnet", report)
    except MissingSource:
        return load("packages", report)
