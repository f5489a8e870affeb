"""Arrays in memory that the daemon reads directly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from . import _native
from ._runtime import identity

if TYPE_CHECKING:
    import numpy


def empty(shape: int | tuple[int, ...], dtype: Any = "float32") -> numpy.ndarray:
    """A NumPy array in the send heap, not initialised. A `bytes` or repeated numeric field that is set from it is sent
    without a copy.

    Inside a handler it is made for the reply, elsewhere for requests. It may be sent any number of times; do not write to it
    while a call that sends it runs. `torch.from_numpy` shares its memory. Raises RpcError (no daemon, over the quota),
    ImportError without NumPy.
    """
    try:
        import numpy
    except ImportError as error:
        raise ImportError("mrpc.empty() makes NumPy arrays: install numpy") from error
    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise ValueError(f"dtype {kind} holds Python objects, which cannot be shared")
    dimensions = (shape,) if isinstance(shape, int) else tuple(shape)
    count = math.prod(dimensions)
    if count * kind.itemsize == 0:
        return numpy.empty(dimensions, kind)
    memory = _native.ChannelCore("", *identity()).allocate(count * kind.itemsize)
    return numpy.frombuffer(memory, kind, count).reshape(dimensions)
