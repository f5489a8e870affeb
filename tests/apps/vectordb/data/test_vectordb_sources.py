"""What is made of packaged data: parsers on small texts, and the errors that say what to install."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.vectordb.data import MissingSource, embed, fashion, packages, sources, wordnet
from apps.vectordb.data.words import tenants_by_word

SYNSETS = """\
  1 This software and database is being provided to you, the LICENSEE, by
00001930 03 n 01 physical_entity 0 007 @ 00001740 n 0000 ~ 00002452 n 0000 | an entity that has physical existence
00003131 00 a 02 ready(p) 0 able 0 001 & 00001740 a 0000 | fit; "ready to go | or not"
"""


def test_synsets_are_parsed() -> None:
    assert wordnet.parse(SYNSETS) == [("physical entity", "an entity that has physical existence"), ("ready", 'fit; "ready to go | or not"')]


@given(st.text())
def test_any_text_is_parsed_or_refused_with_advice(text: str) -> None:
    try:
        wordnet.parse(text)
    except MissingSource as error:
        assert "reinstall wordnet-base" in str(error)
    packages.parse(text)


def test_stanzas_are_parsed() -> None:
    index = "Package: a\nDescription: A thing\nSection: games\nTag: use::play, role::program,\n x11::app\n\nPackage: nothing\n\n" \
            "Package: b\nDescription: Another: thing\nSection: libs\n"
    assert packages.parse(index) == [("a: A thing", ("games", "role::program", "use::play", "x11::app")), ("b: Another: thing", ("libs",))]


def test_pictures_are_read_and_damage_is_refused(tmp_path: Path) -> None:
    good = bytes((0, 0, 8, 2)) + (2).to_bytes(4) + (3).to_bytes(4) + bytes(range(6))
    for content in (good, good[:-1], good + b"x", b"", good[:9], bytes(4) + good[4:]):
        path = tmp_path / "images.gz"
        path.write_bytes(gzip.compress(content))
        if content is good:
            assert fashion.read(path, 2).tolist() == [[0, 1, 2], [3, 4, 5]]
        else:
            with pytest.raises(MissingSource, match="damaged: apt-get install --reinstall"):
                fashion.read(path, 2)
    path.write_bytes(gzip.compress(good)[:-9])
    with pytest.raises(MissingSource, match="damaged"):
        fashion.read(path, 2)


def test_the_rarest_word_owns_a_text_and_the_commonest_see_it() -> None:
    texts = [f"filler{index}" for index in range(200)]
    texts[:4] = ["the red fish", "A fish, swimming", "red red wine", "zz"]
    chosen, access, names = tenants_by_word(texts, 2)
    assert chosen.tolist() == [0, 1, 2] and names == ("fish", "red")
    assert access.owners.tolist() == [1, 0, 1] and access.ids.tolist() == [0] and access.tenants.tolist() == [0]


def test_words_in_too_many_texts_are_no_tenants() -> None:
    _, _, names = tenants_by_word(["common rare", *["common"] * 60], 5)
    assert names == ("rare",)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingSource, match="apt-get install --no-install-recommends wordnet-base"):
        sources.debian("wordnet-base", str(tmp_path / "absent"))
    with pytest.raises(MissingSource, match=r"pip install 'mrpc-mesh\[vectordb\]'"):
        sources.python("not_a_package_of_this_name")
    with pytest.raises(MissingSource, match="apt-get install nosuch"):
        sources.output("nosuch", str(tmp_path / "absent"))


def test_texts_of_one_meaning_are_near() -> None:
    embedder = embed.Embedder()
    vectors = embedder(["a dog barks", "a puppy is barking", "the stock market fell", *["filler"] * 5000])
    assert vectors.shape == (5003, 256) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.3 > vectors[0] @ vectors[2]
    assert np.allclose(embedder(["a dog barks"])[0], vectors[0], atol=1e-6)
    with pytest.raises(ValueError, match="text 1 of the batch is empty"):
        embedder(["a", ""])
