"""A database: collections over one log, in one directory or in memory."""
from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from .collection import Collection
from .contents import Contents, IndexFactory
from .errors import AlreadyExists, NotFound
from .journal import Journal, Memory
from .model import CollectionConfig
from .recall import Sampler
from .records import Change, pb


def _make_index(dim: int, **settings: Any) -> Any:
    from apps.vectordb._curator import Index  # so that a test may bring another index

    return Index(dim, **settings)


class Database:
    @staticmethod
    def open(directory: str | Path | None, *, fsync: Literal["group", "always", "off"] = "group", recall_sample: float = 0.01,
             make_index: IndexFactory = _make_index, clock: Callable[[], float] = time.monotonic) -> Database:
        return Database(directory, fsync, recall_sample, make_index, clock)

    def __init__(self, directory: Any, fsync: str, recall_sample: float, make_index: IndexFactory, clock: Callable[[], float]) -> None:
        self._journal = Journal(Memory())
        self._make_index, self._clock = make_index, clock
        self._sampler = Sampler(recall_sample)
        self._collections: dict[str, Collection] = {}
        self._next_number = 1

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_collection(self, name: str, *, dim: int, metric: str = "l2", dtype: str = "float32", **settings: Any) -> Collection:
        config = CollectionConfig.checked({"name": name, "dim": dim, "metric": metric, "dtype": dtype, **settings})
        with self._journal.writing() as write:
            if name in self._collections:
                raise AlreadyExists(f"there is a collection {name!r} already")
            created = pb.CreateCollection(config=config.model_dump_json(), secret=secrets.token_bytes(16))
            change = Change(collection=self._next_number, create_collection=created)
            write.log([change])
            self._apply(change)
        return self._collections[name]

    def collection(self, name: str) -> Collection:
        if name not in self._collections:
            raise NotFound(f"there is no collection {name!r}")
        return self._collections[name]

    def collections(self) -> list[str]:
        return sorted(self._collections)

    def close(self) -> None:
        self._journal.close()

    def _apply(self, change: Change) -> None:
        contents = Contents(change.collection, change.create_collection, self._make_index, self._clock)
        self._collections[contents.config.name] = Collection(contents, self._journal, self._sampler)
        self._next_number = change.collection + 1
