"""Texts as sparse vectors, for whoever has nothing but texts: how often each word is in it.

    client.create_collection("notes", models.VectorParams(256, models.Distance.COSINE), {"text": models.SparseVectorParams(models.Modifier.BM25)})
    client.upsert("notes", [models.PointStruct(1, {"": embed(note), "text": text.terms(note)})])
    client.query_points("notes", text.terms("who pays for lunch"), using="text")

Weights are not in them: the service makes those when it searches, by BM25, from the texts that the tenant sees.
"""
from __future__ import annotations

import re
import zlib
from collections import Counter

from .models import SparseVector

TERMS_MAX = 8192
"""Different words of a text: of one with more, those that it has least are left out."""
_WORD = re.compile(r"[^\W_]+")
STOP_WORDS = frozenset(_WORD.findall(
    "a an and are as at be been but by can do for from had has have he her his how i if in is it its no not of on or our she so than that the "
    "their them then there these they this to was we were what when which who will with you your"))
"""English words that say nothing of what a text is about."""


def words(text: str) -> list[str]:
    """Its runs of letters and digits, without case, but for stop words."""
    return [word for word in _WORD.findall(text.casefold()) if word not in STOP_WORDS]


def terms(text: str) -> SparseVector:
    """Of a text or of a question: CRC-32 of each word, and how often it is there. Words that share one count as one: among 10,000 words any
    two do with a chance of one in a hundred."""
    counts = Counter(zlib.crc32(word.encode()) for word in words(text)).most_common(TERMS_MAX)
    return SparseVector([term for term, _ in counts], [float(count) for _, count in counts])
