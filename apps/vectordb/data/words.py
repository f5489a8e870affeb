"""Texts that share words: each of the commonest words is a tenant, who sees the texts that hold it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .sharing import Access, by_id

WORD = re.compile(r"[a-z]{3,}")
TOO_COMMON = 0.04  # a word in more of the texts than this says nothing of what they are about


def tenants_by_word(texts: Sequence[str], tenants: int) -> tuple[np.ndarray, Access, tuple[str, ...]]:
    """The texts (indices i64) that hold one of the commonest `tenants` words, access to them, and the words.

    A text's rarest such word owns it; the others are granted it.
    """
    found = [set(WORD.findall(text.lower())) for text in texts]
    counts = Counter(word for each in found for word in each)
    telling = [word for word, count in counts.items() if count <= len(texts) * TOO_COMMON]
    commonest = sorted(telling, key=lambda word: (-counts[word], word))[:tenants]
    rank = {word: number for number, word in enumerate(commonest)}
    tags = [sorted((rank[word] for word in each if word in rank), reverse=True) for each in found]
    chosen = np.array([index for index, each in enumerate(tags) if each], np.int64)
    tagged = [tags[index] for index in chosen]
    owners = np.array([each[0] for each in tagged], np.uint32)
    ids = np.repeat(np.arange(len(tagged)), [len(each) - 1 for each in tagged])
    others = np.array([tag for each in tagged for tag in each[1:]], np.int64)
    return chosen, by_id(owners, ids, others), tuple(rank)
