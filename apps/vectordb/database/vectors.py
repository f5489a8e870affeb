"""Vectors from outside: checked, so that the index never has a reason to refuse them, and in the collection's type."""
from __future__ import annotations

from typing import Any

import numpy as np

from .errors import Invalid
from .model import CollectionConfig

COMPONENT_MAX = 1e15  # squares of differences of 8192 of these still sum up in a float32
FLOAT16_MAX = 65504.0
_FLOAT32 = np.dtype(np.float32)
_PLAIN = 1e-12, COMPONENT_MAX  # bounds of a sum of squares within which no component is near a limit, nor the only vector zero


def checked(config: CollectionConfig, vectors: Any, ndim: int = 2) -> np.ndarray:
    """[n, dim] (ndim=2) or [dim] (ndim=1) as the collection stores it, of unit length under cosine.

    Invalid for another shape, for what are no real numbers, NaN, infinity or a component over 1e15 (float16: 65504), and
    for a zero vector under cosine.
    """
    given = array(vectors)
    if given.ndim != ndim or given.shape[-1] != config.dim:
        raise Invalid(f"vectors of collection {config.name!r} have {config.dim} components; this has the shape {list(given.shape)}")
    largest = float(np.abs(given).max(initial=0))  # a float16 could not be compared with the limit
    if not largest <= COMPONENT_MAX:
        raise Invalid(f"a component is NaN, infinite, or over {COMPONENT_MAX:g}")
    if config.metric == "cosine":
        given = _normalised(given)
    elif config.dtype == "float16" and largest > FLOAT16_MAX:
        raise Invalid("a component is over 65504, the largest float16")
    return np.ascontiguousarray(given, dtype=config.dtype)


def queries(config: CollectionConfig, given: np.ndarray) -> np.ndarray:
    """[n, dim] of what array() made of [n, dim] or one [dim]: as checked() makes them, but that a float32 query alone, as most are, may
    keep its length, which the index does not mind. Invalid likewise."""
    if given.dtype == _FLOAT32 and config.dtype == "float32" and given.ndim <= 2 and given.shape[-1:] == (config.dim,):
        wide = given.astype(np.float64).reshape(-1)  # in which no square of a float32 overflows
        if _PLAIN[0] < wide.dot(wide) < _PLAIN[1] and (config.metric != "cosine" or len(wide) == config.dim):
            return given.reshape(-1, config.dim)
    return checked(config, given, 1 if given.ndim == 1 else 2).reshape(-1, config.dim)


def array(vectors: Any) -> np.ndarray:
    """Of floats. Invalid for what has no such array."""
    try:
        given = np.asarray(vectors)
    except ValueError:
        raise Invalid("the vectors have different lengths") from None
    if given.dtype.kind not in "fiu":
        raise Invalid(f"a vector has real numbers, not {given.dtype}")
    return given if given.dtype.kind == "f" else given.astype(np.float64)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    squares = np.vecdot(wide, wide)
    if not squares.all():
        raise Invalid("a zero vector has no direction: collections with the cosine metric take none")
    return wide / np.sqrt(squares)[..., None]
