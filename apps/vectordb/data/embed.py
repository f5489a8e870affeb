"""Texts to vectors by WordLlama's static table: 32,000 tokens x 256, a text is the mean of its tokens, brought to length one.

The table and its tokenizer lie in the wheel. The package's own loader looks for them elsewhere, then asks the network, so it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from .sources import MissingSource, python

BATCH = 2048
Report = Callable[[int, int], None]  # done, of how many


class Embedder:
    """`Embedder()(texts)` is f32 [len(texts), 256] of unit length. MissingSource when the package is not there, or not as known."""

    def __init__(self) -> None:
        home = python("wordllama")
        try:
            table = load_file(home / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
            self._tokenizer = Tokenizer.from_file(str(home / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        except Exception as error:  # tokenizers raises Exception itself
            raise MissingSource(f"wordllama does not hold its table where 0.4.0 does ({error}): pip install wordllama==0.4.0.post1") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._table = table.astype(np.float32)

    @property
    def dim(self) -> int:
        return self._table.shape[1]

    def __call__(self, texts: Sequence[str], report: Report = lambda done, total: None) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            vectors[start : start + len(batch)] = self._means(batch)
            report(start + len(batch), len(texts))
        return vectors

    def _means(self, texts: list[str]) -> NDArray[np.float32]:
        """Directions of the token's sums. ValueError for a text without a token, which has none."""
        tokens = [encoded.ids for encoded in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        lengths = np.array([len(each) for each in tokens])
        if not lengths.all():
            raise ValueError(f"text {int(np.argmin(lengths))} of the batch is empty: nothing to embed")
        flat = np.fromiter(chain.from_iterable(tokens), np.int64)
        sums = np.add.reduceat(self._table[flat], np.cumsum(lengths) - lengths)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)
