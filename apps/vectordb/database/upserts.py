"""Points to write, as a change of the log: rows found or given out, columns in the order that the log has them in."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .namespace import Namespace
from .records import pack_keys, pack_payloads, pack_rows, pb


def packed(owner: int, fresh: int, rows: Sequence[int], keys: Sequence[int], given: np.ndarray, texts: Sequence[bytes]) -> pb.Upsert:
    """The columns of points, of which the first `fresh` are new. given: [n, dim] as stored."""
    low, high = pack_keys(keys)
    sizes, joined = pack_payloads(texts)
    return pb.Upsert(owner=owner, fresh=fresh, rows=pack_rows(rows), keys_low=low, keys_high=high, vectors=given.tobytes(),
                     payload_sizes=sizes, payloads=joined)


class Placing:
    """Finds places in a name space for batches of one transaction, whose keys are all different. A writer's.

    `fresh` points are new so far, and payloads grow by `growth` bytes.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace, self._lookup = namespace, namespace.warm().lookup
        self.fresh = self.growth = 0

    def knows(self, key: int) -> bool:
        return key in self._lookup

    def place(self, keys: Sequence[int], given: np.ndarray, texts: Sequence[bytes]) -> pb.Upsert:
        """What writes them, new ones first."""
        there = list(map(self._lookup.get, keys))
        order = sorted(range(len(keys)), key=lambda at: there[at] is not None)
        fresh = there.count(None)
        rows = [*self._namespace.take_rows(self.fresh + fresh)[self.fresh:], *(there[at] for at in order[fresh:])]
        if 0 < fresh < len(keys):
            keys, texts, given = [keys[at] for at in order], [texts[at] for at in order], given[order]
        self.fresh += fresh
        self.growth += sum(map(len, texts)) - sum(len(self._namespace.state.payload(row)) for row in rows[fresh:])
        return packed(self._namespace.owner, fresh, rows, keys, given, texts)
