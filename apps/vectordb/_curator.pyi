"""The index: vectors stored once, shared by many tenants. C++ below apps/vectordb/native; docs/decisions/017-explicit-tenant-trees.md.

Ids are u64 and unique in an index; tenants are u32. Arrays are numpy: n ids are u64[n], n tenants u32[n], n vectors float32 or float16
[n, dim]; other integer types and a single scalar (with a single vector [dim]) are taken where nothing is lost. One writer and any number of
readers may be in an index at once: writers wait for each other, searches wait for nobody, and the GIL is released. A batch is checked
whole before its first change; what a search sees of one tenant is the state before a batch or after it, never between.

Errors: ValueError for shapes, types, NaN or infinity, a zero vector under cosine, k < 1; UnknownId, DuplicateId, TenantUnloaded,
InvariantError as named below. MemoryError: where memory ran out in the middle of a change, that one and all later changes, cut() and check();
searches go on.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Expression = int | tuple  # a tenant, or ("and" | "or", part, ...), or ("not", part)

class UnknownId(KeyError):
    """An id that the index does not hold."""

class DuplicateId(ValueError):
    """An id given twice, or already held: use update()."""

class TenantUnloaded(RuntimeError):
    """The tenant's tree is not in memory: reload() it first."""

class InvariantError(AssertionError):
    """check() found damage; the text says where."""

class Predicate:
    """A set of vectors to search in, from predicate(); it follows later changes of the index. Pass it as `where`."""

    def __len__(self) -> int:
        """How many vectors it names now."""

class Cut:
    """An index as of one moment. What the index replaces meanwhile keeps its memory until the cut goes."""

    def save(self, path: str) -> None:
        """Writes everything to a file, checksummed; to make it durable and to move it into place are the caller's. OSError."""

class Index:
    """Multi-tenant index over one space of `dim` dimensions."""

    def __init__(
        self,
        dim: int,
        *,
        metric: Literal["l2", "ip", "cosine"] = "l2",
        dtype: Literal["float32", "float16"] = "float32",
        shortlist_max: int = 128,
        leaf_max: int = 256,
        branching: int = 16,
        recall: float = 0.97,
        seed: int = 0,
    ) -> None:
        """dim: 1 to 65536. shortlist_max: ids in one list of a tenant above the leaves, 1 to 65536. leaf_max: vectors in a leaf, from
        which it is split, 4 to 65536. branching: children of a node when trained, 2 to 32. recall: what searches aim for, in (0, 1]."""

    dim: int
    metric: str
    dtype: str

    # Changes. Each takes one item or a batch.
    def build(
        self, ids: ArrayLike, vectors: ArrayLike, owners: ArrayLike, grant_ids: ArrayLike | None = None, grant_tenants: ArrayLike | None = None
    ) -> None:
        """Trains the tree on the vectors, then places them and the grants (pairs). Only on an empty index (ValueError)."""

    def insert(self, ids: ArrayLike, vectors: ArrayLike, owners: ArrayLike, *, learn: bool = True) -> None:
        """Adds vectors, each visible to its owner. Under cosine they are stored normalised. learn: as learn(), which may take some tenths of
        a second; else that is left to learn() or maintain(). DuplicateId."""

    def update(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Replaces vectors; owners and grants stay. UnknownId."""

    def delete(self, ids: ArrayLike) -> None:
        """Removes vectors for everybody. UnknownId; DuplicateId when an id is given twice. Who may ask for it is the caller's to decide."""

    def grant(self, ids: ArrayLike, tenants: ArrayLike) -> int:
        """Makes vector ids[i] visible to tenants[i]; how many pairs are new. Granting again changes nothing. UnknownId."""

    def revoke(self, ids: ArrayLike, tenants: ArrayLike) -> int:
        """Takes grants back; how many there were. UnknownId; ValueError for the owner of a vector."""

    def drop_tenant(self, tenant: int) -> int:
        """Deletes what the tenant owns and revokes what it was granted; how many vectors it saw."""

    def maintain(self, budget: int = 10000) -> bool:
        """Re-clusters and merges what drift made bad, moving about `budget` vectors, large regions over many calls; True while there is
        more to do. Writes do a bounded part of it by themselves. Then as learn()."""

    def learn(self, vectors: int | None = None) -> bool:
        """When tenants see twice or half as much as when it was last learnt: learns how far searches must go, or a piece of it, for which
        about so many vectors are looked at (20 to 40 ns each); True while there is more to learn. A piece waits for no writer."""

    @property
    def taught(self) -> bool:
        """Whether there is nothing for learn() to do. Until it has learnt once, searches look at all that a tenant sees."""

    # Searches. Distances: l2 is squared, cosine is 1 - cos, ip is the negative product; nearest first.
    def search(
        self,
        vector: ArrayLike,
        k: int,
        tenants: int | Sequence[int],
        *,
        exact: bool = False,
        budget: int | None = None,
        patience: int | None = None,
        recall: float | None = None,
        where: Predicate | None = None,
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """The k nearest of what the tenants (one, or any of several: each result once) may see: always min(k, visible) results.

        exact: look at everything. budget: look at about so many vectors, in the order of promise. patience: stop after so many lists in a
        row that improve nothing. recall: aim of this search in place of the index's. where: only within this predicate.
        """

    def search_many(
        self,
        vectors: ArrayLike,
        k: int,
        tenants: int | Sequence[int],
        *,
        exact: bool = False,
        budget: int | None = None,
        patience: int | None = None,
        recall: float | None = None,
        where: Predicate | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint32]]:
        """n searches: ids [n, k], distances [n, k], counts [n]; row i is good up to counts[i]. tenants: one for all, or u32[n], one each.

        threads: on how many at most; others help the caller's own while they have no other batch to help with.
        """

    def predicate(self, what: Expression | ArrayLike) -> Predicate:
        """A set to search in: an expression over tenants, or an array of ids (unknown ones name nothing)."""

    # Reads.
    def count(self, tenant: int) -> int:
        """How many vectors the tenant may see; 0 for one that was never heard of."""

    def ids(self, tenant: int, after: int | None = None, limit: int = 1000) -> NDArray[np.uint64]:
        """What the tenant may see, ascending, from the first id greater than `after`."""

    def owner(self, id: int) -> int:
        """UnknownId."""

    def tenants(self, id: int) -> NDArray[np.uint32]:
        """Who may see it, owner included, ascending. UnknownId."""

    def vectors(self, ids: ArrayLike) -> NDArray:
        """As stored [n, dim], in the index's dtype. UnknownId."""

    def __contains__(self, id: int) -> bool: ...
    def __len__(self) -> int: ...

    def tenant_tree(self, tenant: int) -> list[tuple[int, int | None, int, int, bool]]:
        """The tenant's tree, parents first: (node, parent, depth, vectors at or below, is a shortlist)."""

    def centroid(self, node: int) -> NDArray[np.float32]:
        """Where a node of tenant_tree() lies [dim]. ValueError for a node that is no more."""

    # Tenants that rest, and the whole on disk.
    def unload(self, tenant: int) -> bytes:
        """Takes the tenant's tree out of memory. Until reload() only count() answers for it; searches, grants, revokes and inserts for it
        raise TenantUnloaded, while others may delete what it was granted."""

    def reload(self, tenant: int, blob: bytes) -> None:
        """Brings it back, without what was deleted meanwhile. ValueError for a damaged or foreign blob."""

    def cut(self) -> Cut:
        """All of it as of now, to be written while it changes: takes some milliseconds, and memory of a few bytes a grant."""

    @staticmethod
    def load(path: str) -> Index:
        """What a Cut saved. ValueError with offset and advice for a file that is damaged, short, or of another version. OSError."""

    def check(self) -> None:
        """Verifies every invariant. InvariantError."""

    def stats(self) -> dict[str, int | float]:
        """Bytes by part (bytes_vectors, bytes_codes, bytes_ids, bytes_access, bytes_tree, bytes_tenants, bytes_total), and vectors,
        grants, tenants, unloaded, nodes, leaves, shortlists, depth, leaf_splits, leaf_merges, reclusters, waiting (to be freed), taught (0 or 1)."""
