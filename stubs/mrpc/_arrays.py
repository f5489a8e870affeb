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

    Inside a handler it is made for the reply, elsewhere for requests. It may be sent any number of times. While a call that
    sends it runs it is not writeable (`flags.writeable`), nor are views made of it then; it is again once the program has been
    told of the call's end. Views, memoryviews and tensors (`torch.from_numpy` shares the memory) that were made before are not
    watched: what is written through them meanwhile may reach the receiver in part. Nor is an array that a handler keeps after
    it has returned it in a reply: make another for each. Raises RpcError (no daemon, over the quota), ImportError without NumPy.
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
    array = numpy.frombuffer(memory, kind, count).reshape(dimensions)
    memory.guard(array)
    return array
