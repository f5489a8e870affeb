"""Sparse vectors, and searches that are fused, between models and messages. Models are told by their class's name or attributes."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .advice import ONE_VECTOR
from .models import Fusion, Modifier, SparseVector, SparseVectorParams

DENSE = ""
"""What the dense vector is called."""
RANKED = "FusionQuery", "RrfQuery"


def params(pb: Any, config: Any) -> list[Any]:
    """SparseParams messages of a dict from names to SparseVectorParams, or None."""
    return [pb.SparseParams(name=name, modifier=number(pb, Modifier, getattr(each, "modifier", None) or Modifier.NONE, "MODIFIER_NONE"),
                            k1=getattr(each, "k1", None), b=getattr(each, "b", None)) for name, each in (config or {}).items()]


def number(pb: Any, kind: Any, value: Any, zero: str = "") -> int:
    """Of an enum's member in the schema, which has the same names but for that of 0."""
    name = kind(getattr(value, "value", value)).name
    return getattr(pb, zero if name == "NONE" else name)


def described(config: Any) -> dict[str, SparseVectorParams] | None:
    """The other way, of a CollectionConfig message."""
    return {each.name: SparseVectorParams(list(Modifier)[each.modifier], each.k1, each.b) for each in config.sparse} or None


def split(vectors: Any) -> tuple[Any, dict[str, Sequence[Any]]]:
    """(dense vectors, by name sparse ones) of columns by name, or of what each point has, which may be a dict by name too. ValueError when a
    point has no dense vector."""
    if isinstance(vectors, dict):
        if DENSE not in vectors:
            raise ValueError(f"vectors without a dense one, which is named {DENSE!r}: {ONE_VECTOR}")
        return vectors[DENSE], {name: of for name, of in vectors.items() if name != DENSE}
    if not (isinstance(vectors, list) and any(isinstance(each, dict) for each in vectors)):
        return vectors, {}
    by_name = [each if isinstance(each, dict) else {DENSE: each} for each in vectors]
    if not all(DENSE in each for each in by_name):
        raise ValueError(f"a point without a dense vector, which is named {DENSE!r}: {ONE_VECTOR}")
    names = dict.fromkeys(name for each in by_name for name in each if name != DENSE)
    return [each[DENSE] for each in by_name], {name: [each.get(name) for each in by_name] for name in names}


def message(pb: Any, name: str, vectors: Sequence[Any]) -> Any:
    """A SparseVectors message. ValueError for what is no SparseVector or None."""
    for each in vectors:
        if each is not None and not (hasattr(each, "indices") and hasattr(each, "values") and len(each.indices) == len(each.values)):
            raise ValueError(f"a vector {name!r} is a SparseVector, with as many values as indices: {ONE_VECTOR}")
    there = [each for each in vectors if each is not None]
    return pb.SparseVectors(name=name, sizes=[0 if each is None else len(each.indices) for each in vectors],
                            indices=_joined([each.indices for each in there], np.uint32), values=_joined([each.values for each in there], np.float32))


def _joined(parts: Sequence[Any], kind: Any) -> np.ndarray:
    """ValueError when a number has no place in that kind."""
    try:
        joined = np.array([number for part in parts for number in part], kind) if parts else np.empty(0, kind)
    except (OverflowError, TypeError):
        raise ValueError("an index is from 0 to 2**32 - 1, and a value a number") from None
    return joined


def decoded(points: Any) -> list[dict[str, SparseVector]]:
    """Of a Records message: for each point its sparse vectors by name."""
    found: list[dict[str, SparseVector]] = [{} for _ in points.ids]
    for each in points.sparse:
        indices, values = list(each.indices), list(each.values)
        for place, (start, end) in enumerate(pairwise(accumulate(each.sizes, initial=0))):
            if end > start:
                found[place][each.name] = SparseVector(indices[start:end], values[start:end])
    return found


def is_ranked(query: Any) -> bool:
    """Whether it says how prefetched results are fused."""
    return type(query).__name__ in RANKED


def how(pb: Any, query: Any) -> dict[str, Any]:
    """What a FuseRequest says of it."""
    if type(query).__name__ == "RrfQuery":
        return {"fusion": pb.RRF, "rrf_k": query.rrf.k or 0, "weights": query.rrf.weights or []}
    return {"fusion": number(pb, Fusion, query.fusion)}
