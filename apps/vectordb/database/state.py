"""All that the log of a database makes: the contents of its collections. Changed by apply() only."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .contents import Contents
from .records import Change


class State:
    """index_type: the class of the index. clock: monotonic seconds."""

    def __init__(self, index_type: Any, clock: Callable[[], float]) -> None:
        self.index_type, self.clock = index_type, clock
        self.contents: dict[int, Contents] = {}
        self.next_number = 1

    def apply(self, change: Change) -> int:
        """Does a change; how many points or pairs it concerned."""
        kind = change.WhichOneof("change")
        if kind == "create_collection":
            self.contents[change.collection] = Contents(change.collection, change.create_collection, self.index_type, self.clock)
            self.next_number = change.collection + 1
        elif kind == "drop_collection":
            del self.contents[change.collection]
        else:
            return self.contents[change.collection].apply(change)
        return 0
