"""Debian's package descriptions: about 60,000 short English texts, shared by their tags; what a machine without WordNet has."""

from __future__ import annotations

import numpy as np

from .dataset import Dataset
from .embed import Embedder, Report
from .sharing import by_id
from .sources import MissingSource, output
from .splitting import split

QUERIES = 1000
FEWEST = 10_000  # packages; an index of fewer has not been fetched


def packages(report: Report) -> Dataset:
    """Texts "package: description", cosine, 256 dimensions; a package's section owns it, its tags (debtags) see it. MissingSource."""
    found = parse(output("apt", "apt-cache", "dumpavail"))
    if len(found) < FEWEST:
        raise MissingSource(f"apt knows only {len(found)} packages: apt-get update")
    names = tuple(sorted({label for _, labels in found for label in labels}))
    number = {name: at for at, name in enumerate(names)}
    owners = np.array([number[labels[0]] for _, labels in found], np.uint32)
    ids = np.repeat(np.arange(len(found)), [len(labels) - 1 for _, labels in found])
    tags = np.array([number[tag] for _, labels in found for tag in labels[1:]], np.int64)
    texts = tuple(text for text, _ in found)
    rng = np.random.default_rng(0)
    held = rng.choice(len(texts), QUERIES, replace=False)
    return split(rng, "packages", "cosine", Embedder()(texts, report), by_id(owners, ids, tags), names, held, texts)


def parse(index: str) -> list[tuple[str, tuple[str, ...]]]:
    """(text, (section, tags …)) of each described package, in the order of the text of `apt-cache dumpavail`."""
    found = {}
    for stanza in index.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.replace("\n ", " ").splitlines() if ": " in line)
        if {"Package", "Description", "Section"} <= fields.keys():
            tags = {tag.strip() for tag in fields.get("Tag", "").split(",")} - {""}
            found[f"{fields['Package']}: {fields['Description']}"] = (fields["Section"], *sorted(tags - {fields["Section"]}))
    return list(found.items())
