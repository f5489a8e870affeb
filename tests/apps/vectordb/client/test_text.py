"""Texts as sparse vectors, and BM25 of them against the formula."""

from __future__ import annotations

import math

import pytest

from apps.vectordb.client import Client, models, text

TEXTS = ["The cat sat on the mat.", "A dog and a CAT", "dogs, dogs, dogs and one dog; a long text about dogs of all kinds", "42 über-große Hunde"]


def test_words() -> None:
    assert text.words(TEXTS[0]) == ["cat", "sat", "mat"]
    assert text.words(TEXTS[3]) == ["42", "über", "grosse", "hunde"]
    assert text.words("the and of") == text.words("...") == text.words("") == []


def test_terms() -> None:
    dogs = text.terms(TEXTS[2])
    assert sorted(dogs.values) == [1] * 7 + [4] and len(set(dogs.indices)) == 8
    assert set(text.terms("cat").indices) == set(text.terms("CAT, cat").indices) < set(text.terms(TEXTS[1]).indices)
    assert text.terms("of the") == models.SparseVector([], [])
    assert len(text.terms(" ".join(map(str, range(10_000)))).indices) == text.TERMS_MAX


def test_a_search_by_words_alone() -> None:
    with Client(":memory:") as client:
        client.create_collection("c", models.VectorParams(1, models.Distance.DOT), {"text": models.SparseVectorParams(models.Modifier.BM25)})
        client.upsert("c", [models.PointStruct(id, {"": [1], "text": text.terms(each)}) for id, each in enumerate(TEXTS)])
        found = {hit.id: hit.score for hit in client.query_points("c", text.terms("Where is the cat, or a dog?"), using="text").points}
    mean = sum(len(text.words(each)) for each in TEXTS) / 4

    def weight(word: str, id: int) -> float:
        words = text.words(TEXTS[id])
        df = sum(word in text.words(each) for each in TEXTS)
        return math.log(1 + (4 - df + 0.5) / (df + 0.5)) * words.count(word) * 2.2 / (words.count(word) + 1.2 * (0.25 + 0.75 * len(words) / mean))

    assert found == pytest.approx({id: sum(weight(word, id) for word in ("where", "cat", "dog")) for id in (0, 1, 2)}, rel=1e-5)
