"""Searches by several examples at once, and searches of which a few hits of each value of a field are wanted.

Examples are compared with every point that the tenant sees and the filter takes: what is best for all of them together is near none of them.
Scores are those of Qdrant; s(x) = (x / (1 + |x|) + 1) / 2 is between 0 and 1, and similarities are products, cosines or negative squared distances.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from .. import paths
from . import filters, payloads, vectors
from .errors import Invalid
from .model import K_MAX, Payload, Results
from .parties import Party
from .queries import Nearest
from .reads import ReadOperations, Wanted, check_size

Strategy = Literal["best_score", "sum_scores", "discover", "context"]
EXAMPLES_MAX = 256
GROUP_SIZE_MAX = 1000
ROWS = 4096      # that are compared at a time
GROWTH = 4       # of a search that did not find enough groups
EPSILON = 1.1920929e-7


class Groups(NamedTuple):
    """values: of the field, a text or integer for each group, in the order of their first hits; counts of the hits are by group."""

    values: list[int | str]
    hits: Results


class ExploreOperations(ReadOperations):
    def explore(self, tenant: str, strategy: Strategy, examples: Any, k: int, filter: Wanted = None, *, positives: int = 0,
                with_payload: bool = True) -> Results:
        """The k best by all examples [n, dim]; distances are negative scores.

        best_score, sum_scores: the first `positives` are wanted, the others unwanted. discover: a target, then pairs of a wanted and an unwanted
        one. context: such pairs. NotFound for the tenant; Invalid for other strategies, no examples, more than EXAMPLES_MAX, or as search();
        QuotaExceeded.
        """
        given = vectors.checked(self.config, examples).astype(np.float32)
        check_size(len(given), k)
        _check_examples(strategy, len(given), positives)
        wanted = filters.parse(filter)
        party = self._admit(tenant, len(given))
        began = time.perf_counter()
        found = self._named(lambda again: self._best(party, strategy, given, positives, k, wanted), with_payload)
        self._contents.tallies.searched(party.number, len(given), len(found.owner), time.perf_counter() - began)
        return found

    def _best(self, party: Party, strategy: Strategy, examples: np.ndarray, positives: int, k: int,
              wanted: filters.Filter | None) -> Nearest:
        every, ids, scores = self._queries.matching(party, wanted), [np.empty(0, np.uint64)], [np.empty(0, np.float32)]
        for start in range(0, len(every), ROWS):
            there, rows = self._vectors(every[start:start + ROWS])
            ids.append(there)
            scores.append(_scores(strategy, _similarities(self.config.metric, rows, examples), positives))
        best = np.argsort(-(together := np.concatenate(scores)), kind="stable")[:k]
        return Nearest(np.concatenate(ids)[best], -together[best], [len(best)])

    def _vectors(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids, rows f32[n, dim]) of those that the index has: it may lack what is being written."""
        index = self._contents.index
        try:
            return ids, index.vectors(ids).astype(np.float32, copy=False)
        except KeyError:
            there = ids[[id in index for id in ids.tolist()]]
            return there, index.vectors(there).astype(np.float32, copy=False)


def _check_examples(strategy: str, given: int, positives: int) -> None:
    if strategy not in get_args(Strategy):
        raise Invalid(f"examples are used by one of {', '.join(get_args(Strategy))}, not {strategy!r}")
    if not 1 <= given <= EXAMPLES_MAX:
        raise Invalid(f"1 to {EXAMPLES_MAX} examples, not {given}")
    if strategy in ("best_score", "sum_scores"):
        if positives > given:
            raise Invalid(f"of {given} examples {positives} cannot be positive")
    elif given % 2 != (strategy == "discover"):
        raise Invalid("context is of pairs: as many positive as negative examples")


def _similarities(metric: str, rows: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """f32[examples, rows]; vectors are of unit length under cosine."""
    if metric == "l2":
        return np.stack([-np.square(rows - each).sum(axis=1) for each in examples])
    return examples @ rows.T


def _scores(strategy: Strategy, alike: np.ndarray, positives: int) -> np.ndarray:
    """f32[rows] of similarities f32[examples, rows]."""
    if strategy == "sum_scores":
        return alike[:positives].sum(axis=0) - alike[positives:].sum(axis=0)
    if strategy == "best_score":
        wanted, unwanted = (part.max(axis=0, initial=-np.inf) for part in (alike[:positives], alike[positives:]))
        with np.errstate(invalid="ignore"):  # of what there is none, which is not chosen
            return np.where(wanted > unwanted, _share(wanted), -_share(unwanted))
    pairs = alike[strategy == "discover":]
    wanted, unwanted = pairs[0::2], pairs[1::2]
    if strategy == "discover":
        return np.sign(wanted - unwanted).sum(axis=0) + _share(alike[0])
    missing = np.minimum(wanted - unwanted - np.float32(EPSILON), 0)
    return (missing / (1 + np.abs(missing))).sum(axis=0)


def _share(alike: np.ndarray) -> np.ndarray:
    return (alike / (1 + np.abs(alike)) + 1) / 2


Search = Callable[[int, filters.Filter | None], Results]
"""(k, filter) -> hits of one query, with payloads."""


def grouped(search: Search, key: str, groups: int, size: int, filter: Wanted = None) -> Groups:
    """Up to `size` of the nearest hits of each of the nearest `groups` values at the path `key`. A point is in the group of each text and integer
    there, and in none when there is another value. Looks for groups among the nearest K_MAX.

    Invalid for a path, a filter, less than 1 or more than GROUP_SIZE_MAX hits of a group, or more than K_MAX together.
    """
    wanted, steps = filters.parse(filter), payloads.steps(key)
    if not (1 <= size <= GROUP_SIZE_MAX and groups >= 1 and groups * size <= K_MAX):
        raise Invalid(f"a search has 1 to {K_MAX} hits in groups of 1 to {GROUP_SIZE_MAX}, not {groups} groups of {size}")
    k = min(K_MAX, GROWTH * groups * size)
    while True:
        found = search(k, wanted)
        members = _members(found, steps)
        if len(found.ids) < k or len(members) >= groups or k == K_MAX:
            break
        k = min(K_MAX, GROWTH * k)
    chosen = list(members)[:groups]
    parts = [(found, members[value][:size]) for value in chosen]
    if len(found.ids) == k:  # there may be more of a group farther away
        parts = [part if len(part[1]) == size else _more(search, key, steps, value, size, wanted) or part
                 for value, part in zip(chosen, parts, strict=True)]
    return Groups(chosen, _joined(parts))


def _members(found: Results, steps: paths.Steps) -> dict[int | str, list[int]]:
    """By group, which of the hits are in it."""
    members: dict[int | str, list[int]] = {}
    for at, text in enumerate(found.payloads or ()):
        for value in _values(payloads.unpack(text), steps):
            members.setdefault(value, []).append(at)
    return members


def _values(payload: Payload, steps: paths.Steps) -> Sequence[int | str]:
    values: list[Any] = []
    for value in paths.at(payload, steps):
        values.extend(value if isinstance(value, list) else [value])
    return list(dict.fromkeys(values)) if all(type(value) in (int, str) for value in values) else []


def _more(search: Search, key: str, steps: paths.Steps, value: int | str, size: int,
          wanted: filters.Filter | None) -> tuple[Results, list[int]] | None:
    """The hits of one group. None for a value that no filter can have."""
    try:
        of_group = filters.parse({"must": [{"key": key, "match": {"value": value}}]})
    except Invalid:
        return None
    found = search(size, filters.Filter(must=[each for each in (wanted, of_group) if each]))
    return found, _members(found, steps).get(value, [])


def _joined(parts: list[tuple[Results, list[int]]]) -> Results:
    """The hits at those places, counted by part."""
    places: dict[str, int] = {}
    owner = [places.setdefault(found.owners[found.owner[at]], len(places)) for found, chosen in parts for at in chosen]
    ids = [int(found.ids[at]) if isinstance(found.ids, np.ndarray) else found.ids[at] for found, chosen in parts for at in chosen]
    distances = np.concatenate([np.empty(0, np.float32), *(found.distances[chosen] for found, chosen in parts)])
    texts = [(found.payloads or [])[at] for found, chosen in parts for at in chosen]
    return Results(list(places), owner, ids, distances, texts, [len(chosen) for _, chosen in parts])
