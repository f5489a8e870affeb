"""WordNet's glosses: about 110,000 definitions in English, shared by the 1000 commonest words in them."""

from __future__ import annotations

import re

import numpy as np

from .dataset import Dataset
from .embed import Embedder, Report
from .sources import MissingSource, debian
from .splitting import split
from .words import tenants_by_word

TENANTS = 1000
QUERIES = 2000
# The head of a line of data.noun and its like: offset, lexicographer's file, type, number of words (hexadecimal), the first word.
SYNSET = re.compile(r"\d{8} \d\d [nvasr] [0-9a-f]{2} (\S+) ")


def wordnet(report: Report) -> Dataset:
    """Texts "word: gloss", cosine, 256 dimensions; tenants see the glosses in which their word occurs. MissingSource."""
    entries = glosses()
    chosen, access, names = tenants_by_word([gloss for _, gloss in entries], TENANTS)
    texts = tuple(": ".join(entries[index]) for index in chosen)
    rng = np.random.default_rng(0)
    held = rng.choice(len(texts), QUERIES, replace=False)
    return split(rng, "wordnet", "cosine", Embedder()(texts, report), access, names, held, texts)


def glosses() -> list[tuple[str, str]]:
    """(first word, gloss) of every synset."""
    folder = debian("wordnet-base", "/usr/share/wordnet")
    return [entry for part in ("noun", "verb", "adj", "adv") for entry in parse((folder / f"data.{part}").read_text("utf-8"))]


def parse(data: str) -> list[tuple[str, str]]:
    """Of the text of one data file, whose first lines, a licence, begin with blanks. MissingSource where a line is not a synset."""
    entries = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.startswith(" "):
            continue
        head, bar, gloss = line.partition(" | ")
        synset = SYNSET.match(head + " ")
        if not synset or not bar:
            raise MissingSource(f"line {number} is not a synset of WordNet 3.0: apt-get install --reinstall wordnet-base")
        entries.append((re.sub(r"\([a-z]+\)$", "", synset[1]).replace("_", " "), gloss.strip()))
    return entries
