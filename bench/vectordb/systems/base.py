"""What a system under measurement can do. Arrays are numpy, ids are row numbers of the corpus, all on one thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.vectordb.corpus import Corpus

# Settings that knobs are swept over, cheapest first: steps of about the square root of 2.
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
SLACK = 1.25  # room for vectors that updates insert, where it must be had from the start


class System(ABC):
    """Built once, searched in one or several modes, each with a knob. `modes`: settings of each, cheapest first; (None,) where there is none."""

    modes: ClassVar[Mapping[str, Sequence[Any]]]
    slow: ClassVar[bool] = False  # a whole engine: judged by fewer queries
    item_bytes: ClassVar[int] = 4  # of a coordinate, in what its memory is compared with

    @abstractmethod
    def build(self, corpus: Corpus) -> None:
        """From nothing. What searches need of the corpus is copied; only an index for each tenant asks it again for what is granted later."""

    def use(self, mode: str, setting: Any) -> None:
        """What later searches go by."""
        assert setting is None, f"{mode} has no knob"

    def prepare(self, query: np.ndarray) -> Any:
        """float32[1, d] in the form that search wants, made before the clock runs."""
        return query

    @abstractmethod
    def search(self, query: Any, k: int, tenant: int) -> Sequence[int]:
        """Ids, nearest first; -1 fills up."""

    def grant(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        raise NotImplementedError

    def revoke(self, ids: np.ndarray, tenants: np.ndarray) -> None:
        raise NotImplementedError

    def insert(self, ids: np.ndarray, vectors: np.ndarray, owners: np.ndarray) -> None:
        raise NotImplementedError

    def delete(self, ids: np.ndarray) -> None:
        raise NotImplementedError

    def pids(self) -> Sequence[int]:
        """Processes that it started elsewhere."""
        return ()

    def disk_bytes(self) -> int:
        """What it holds in files."""
        return 0

    def close(self) -> None:
        """Ends what would outlive this process."""
        return


def by_tenant(ids: np.ndarray, tenants: np.ndarray) -> dict[int, list[int]]:
    """Pairs, grouped: what systems with an index for each tenant make of a batch first."""
    found: dict[int, list[int]] = defaultdict(list)
    for each, tenant in zip(ids.tolist(), tenants.tolist(), strict=True):
        found[tenant].append(each)
    return found
