"""What goes into a database and comes out: points, hits, pages, settings, figures, and the limits on them.

Batches are columns: a batch of n points is n ids, an array [n, dim], and n payloads. Settings that come from outside
are pydantic models; what is made per query is a plain class with slots.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import Invalid

PointId = int | str                       # u64, or the text of a UUID
Ref = PointId | tuple[str, PointId]       # a point of one's own, or (owner, id)
Payload = dict[str, Any]                  # a JSON object

POINTS_MAX = 10_000                # in one batch
BATCH_BYTES_MAX = 64 << 20         # vectors and payloads of one batch
REWRITE_BYTES_MAX = 256 << 20      # payloads of all points that one call changes payloads of
PAYLOAD_BYTES_MAX = 64 << 10       # one payload, as JSON text
ANSWER_BYTES_MAX = 64 << 20        # payloads and vectors of one answer
PAYLOAD_DEPTH_MAX = 32
K_MAX = 10_000                     # results of one query
QUERIES_MAX = 1_000                # queries in one batch
RESULTS_MAX = 1_000_000            # of one batch together
PAGE_MAX = 10_000                  # records on one page of a scroll
DIM_MAX = 8192
NONZEROS_MAX = 8192                # numbers in one sparse vector
SEARCHES_MAX = 16                  # fused
SPARSE_NAMES_MAX = 8               # sparse vectors of one point

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/ -]{0,127}$")]


class Settings(BaseModel):
    """Frozen, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Any:
        """The settings, or Invalid naming the first field that is wrong."""
        try:
            return cls(**values)
        except (ValidationError, TypeError) as error:
            raise Invalid(first_complaint(error)) from None


def first_complaint(error: ValidationError | TypeError) -> str:
    """One line of a validation's complaints: where, and what is wrong there."""
    if isinstance(error, TypeError):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in first['loc']) or 'value'}: {first['msg']}"


class SparseParams(Settings):
    """What searches make of the values of sparse vectors of one name.

    none: the score is the inner product. idf: the same with each value of the query times ln(1 + (n - df + 0.5) / (df + 0.5)).
    bm25: likewise, and a point's values are counts of terms, each weighed by count * (k1 + 1) / (count + k1 * (1 - b + b * length /
    mean length)). n, df, and the mean length are of the points that the searching tenant sees and that have the vector.
    """

    modifier: Literal["none", "idf", "bm25"] = "none"
    k1: float = Field(default=1.2, ge=0, le=1000)
    b: float = Field(default=0.75, ge=0, le=1)


class CollectionConfig(Settings):
    """dim: components of a vector. recall: what the index aims at by default. seed: of its random choices. sparse: by name, the sparse
    vectors that points may have."""

    name: Name
    dim: int = Field(ge=1, le=DIM_MAX)
    metric: Literal["l2", "ip", "cosine"] = "l2"
    dtype: Literal["float32", "float16"] = "float32"
    recall: float = Field(default=0.97, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    sparse: dict[Name, SparseParams] = Field(default={}, max_length=SPARSE_NAMES_MAX)

    def sparse_params(self, name: str) -> SparseParams:
        """Invalid when points have no sparse vectors of that name."""
        try:
            return self.sparse[name]
        except (KeyError, TypeError):
            there = ", ".join(map(repr, self.sparse)) or "none"
            raise Invalid(f"collection {self.name!r} has no sparse vectors {str(name)[:60]!r}: there are {there}") from None

    @property
    def vector_bytes(self) -> int:
        """Bytes of one stored dense vector."""
        return self.dim * np.dtype(self.dtype).itemsize


class Quota(Settings):
    """Limits of one tenant; None: none. vectors and bytes (vectors + payloads) count what it owns, not what it was granted.

    queries_per_s counts calls that read or write, a batch of n queries or points as n; `burst` of them may come at once
    (default: one second's worth). A batch that would exceed a limit is refused whole.
    """

    vectors: int | None = Field(default=None, ge=0)
    bytes: int | None = Field(default=None, ge=0)
    queries_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: float | None = Field(default=None, ge=1, allow_inf_nan=False)


class Sparse(NamedTuple):
    """A sparse vector. indices: 0 to 2**32 - 1, none twice, in any order; values: as many. Read back, u32[n] ascending and f32[n]."""

    indices: Any
    values: Any


class SparseColumns(NamedTuple):
    """Sparse vectors of n points, one after the other. sizes: u32[n], numbers in each, 0 for a point without; indices, values: all of them."""

    sizes: np.ndarray
    indices: np.ndarray
    values: np.ndarray


class Search(NamedTuple):
    """One of the searches that are fused. query: a vector [dim], or a Sparse, or columns of one, of the name `using`; score_min: only results
    with this score or a better one: for l2 a distance, where smaller is better; filter, exact, recall: as search()'s."""

    query: Any
    k: int
    using: str = ""
    filter: Any = None
    score_min: float | None = None
    exact: bool = False
    recall: float | None = None


class Point(NamedTuple):
    """One point to write. vector: [dim]; payload: a JSON object, or its text as bytes; sparse: its sparse vectors by name."""

    id: PointId
    vector: Any
    payload: Payload | bytes | None = None
    sparse: Mapping[str, Sparse] | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """A batch to write, as columns. ids: n, unique; vectors: [n, dim], float; payloads: n objects, texts or None, or none at all; sparse: by
    name n sparse vectors or None, or columns of them."""

    ids: Sequence[PointId] | np.ndarray
    vectors: np.ndarray
    payloads: Sequence[Payload | bytes | None] | None = None
    sparse: Mapping[str, Sequence[Sparse | None] | SparseColumns] = field(default_factory=dict)


class Hit(NamedTuple):
    """One result. distance: smaller is nearer (l2: squared; ip, sparse and fused: the negative score; cosine: 1 - cosine)."""

    owner: str
    id: PointId
    distance: float
    payload: bytes | None   # JSON text; None when it was not asked for


@dataclass(slots=True)
class Hits:
    """The results of one query as columns, nearest first. Iterates over Hit."""

    owners: list[str]
    ids: list[PointId]
    distances: np.ndarray            # f32 [n]
    payloads: list[bytes] | None     # JSON texts; None when not asked for

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Hit]:
        payloads = self.payloads or [None] * len(self.ids)
        return map(Hit, self.owners, self.ids, self.distances.tolist(), payloads)


@dataclass(slots=True)
class Results:
    """The results of a batch of queries as columns, one query after the other. Iterates over Hits, one for each query."""

    owners: list[str]                # those that occur, and maybe others
    owner: list[int]                 # of each result: its index among them
    ids: np.ndarray | list[PointId]  # u64 [n], or a list: when one of them is a UUID, or there are few
    distances: np.ndarray            # f32 [n]
    payloads: list[bytes] | None     # JSON texts; None when not asked for
    counts: list[int]                # results of each query

    def __iter__(self) -> Iterator[Hits]:
        owners = [self.owners[place] for place in self.owner]
        ids = self.ids.tolist() if isinstance(self.ids, np.ndarray) else self.ids
        ends = accumulate(self.counts, initial=0)
        for start, end in pairwise(ends):
            payloads = None if self.payloads is None else self.payloads[start:end]
            yield Hits(owners[start:end], ids[start:end], self.distances[start:end], payloads)

    def only(self, taken: np.ndarray) -> Results:
        """Those results where bool[n] is true."""
        places = np.flatnonzero(taken)
        at = places.tolist()
        ids = self.ids[places] if isinstance(self.ids, np.ndarray) else [self.ids[each] for each in at]
        payloads = None if self.payloads is None else [self.payloads[each] for each in at]
        counts = np.diff(np.searchsorted(places, np.cumsum([0, *self.counts]))).tolist()
        return Results(self.owners, [self.owner[each] for each in at], ids, self.distances[places], payloads, counts)


class Record(NamedTuple):
    """A point as read by get and scroll. vector: [dim] of the collection's dtype; sparse: those that it has, by name. Both are None when not
    asked for."""

    owner: str
    id: PointId
    payload: bytes | None
    vector: np.ndarray | None
    sparse: dict[str, Sparse] | None = None


class Page(NamedTuple):
    """A page of a scroll. cursor: hand it in for the next page; None: this was the last."""

    records: list[Record]
    cursor: str | None


class TenantInfo(NamedTuple):
    """A tenant or a role. members: of a role; roles: of a tenant."""

    name: str
    is_role: bool
    quota: Quota
    roles: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


class Usage(NamedTuple):
    """What a tenant uses. The first four and the last are of now; the counters are since the database was opened."""

    points: int               # owned
    visible: int              # owned, granted to it or to its roles
    vector_bytes: int         # of owned points, sparse vectors too
    payload_bytes: int        # of owned points
    queries: int
    points_read: int          # records returned by get and scroll, results of searches
    points_written: int       # upserts, payload writes
    points_deleted: int
    grants: int               # pairs granted and revoked
    refused: int              # calls refused by a quota
    search_s: float           # wall time inside searches
    taught: bool              # whether the collection's index has learnt how far searches must go, as large as it is now


class Recall(NamedTuple):
    """Recall of sampled live queries against the exact search. recall is None before the first judged query."""

    queries: int
    expected: int
    found: int

    @property
    def recall(self) -> float | None:
        return self.found / self.expected if self.expected else None


class Options(Settings):
    """Settings of a database.

    fsync: when a call that writes returns. group: when its record is on the disk, one fsync for all that came meanwhile; always: the
    same, with an fsync of its own; interval: at once, with an fsync every interval_s; off: at once, with none until it is closed.
    wal_bytes_max: a longer log leads to a snapshot. warm_bytes_max: what the tenants of a collection may hold in memory that can be
    dropped and made again; beyond it those not heard of for longest rest; None: no limit. recall_sample: part of the searches that is
    judged. background: whether a thread keeps house, or the caller of housekeep().
    """

    fsync: Literal["group", "always", "interval", "off"] = "group"
    interval_s: float = Field(default=1.0, gt=0, le=3600)
    wal_bytes_max: int = Field(default=256 << 20, ge=1 << 16)
    warm_bytes_max: int | None = Field(default=None, ge=0)
    recall_sample: float = Field(default=0.01, ge=0, le=1)
    background: bool = True


class Recovery(NamedTuple):
    """What opening found. generation: of the snapshot it began with, 0 for none; notes: what was wrong and is mended."""

    generation: int = 0
    replayed: int = 0            # transactions of the log
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
