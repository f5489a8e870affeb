"""Large bytes and repeated numbers are read, kept and sent without a copy."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from mrpc import _native

LARGE = bytes(range(256)) * 64


def received(message: Any) -> Any:
    return _native.decode_image(type(message), _native.encode_image(message))


def test_small_bytes_are_bytes_and_large_ones_views(ours: Any) -> None:
    assert type(received(ours(some_bytes=b"x" * 4096)).some_bytes) is bytes
    view = received(ours(some_bytes=LARGE)).some_bytes
    assert type(view) is _native.BytesView


def test_a_bytes_view_has_the_manners_of_bytes(ours: Any) -> None:
    view = received(ours(some_bytes=LARGE)).some_bytes
    assert view == LARGE and view == LARGE and view != LARGE[1:] and view == bytearray(LARGE)
    assert hash(view) == hash(LARGE) and len(view) == len(LARGE) and bytes(view) == LARGE
    assert view[3] == 3 and view[-1] == 255 and view[2:5] == LARGE[2:5] and view[::1000] == LARGE[::1000]
    assert view[10:10_000] == LARGE[10:10_000] and view[0:0] == b""
    assert view.find(b"\x05\x06") == 5 and view.startswith(b"\x00\x01") and b"\x07\x08" in view and 9 in view
    assert view + b"x" == LARGE + b"x" and b"x" + view == b"x" + LARGE and view < b"\xff" and list(view[:3]) == [0, 1, 2]
    assert view.decode("latin-1") == LARGE.decode("latin-1") and view.hex() == LARGE.hex() and repr(view) == repr(LARGE)
    copied = pickle.loads(pickle.dumps(view))
    assert type(copied) is bytes and copied == LARGE
    assert memoryview(view).readonly and np.frombuffer(view, np.uint8).sum() == sum(LARGE)
    with pytest.raises(IndexError):
        view[len(LARGE)]
    with pytest.raises(AttributeError):
        _ = view.nothing


def test_a_view_keeps_its_memory(ours: Any) -> None:
    view = received(ours(some_bytes=LARGE)).some_bytes
    part = view[100:9000]
    del view
    gc.collect()
    assert part == LARGE[100:9000]


@pytest.mark.parametrize(
    ("field", "dtype"),
    [("doubles", "f8"), ("floats", "f4"), ("int64s", "i8"), ("uint64s", "u8"), ("int32s", "i4"), ("uint32s", "u4"), ("bools", "?")],
)
def test_received_numbers_are_an_array(ours: Any, field: str, dtype: str) -> None:
    numbers = np.arange(5000).astype(dtype)
    container = getattr(received(ours(**{field: numbers})), field)
    array = np.asarray(container)
    assert array.dtype == numbers.dtype and (array == numbers).all() and not array.flags.writeable
    again = np.asarray(container)
    assert again.ctypes.data == array.ctypes.data


def test_a_changed_container_leaves_arrays_alone(ours: Any) -> None:
    message = received(ours(int64s=range(1000)))
    before = np.asarray(message.int64s)
    message.int64s.append(-1)
    message.int64s[0] = 77
    assert before[0] == 0 and len(before) == 1000
    assert message.int64s[0] == 77 and len(message.int64s) == 1001 and np.asarray(message.int64s)[-1] == -1


def test_a_large_array_is_kept_by_reference(ours: Any) -> None:
    for message, array in ((ours(doubles=(a := np.arange(1000.0))), a), (ours(), np.arange(1000.0))):
        if not message.doubles:
            message.doubles[:] = array
        assert np.asarray(message.doubles).ctypes.data == array.ctypes.data
        array[0] = 42.0
        assert message.doubles[0] == 42.0
        message.doubles[0] = 1.0
        assert array[0] == 42.0 and message.doubles[0] == 1.0


def test_an_array_is_released_with_its_message(ours: Any) -> None:
    array = np.arange(1000.0)
    alive = weakref.ref(array)
    message = ours(doubles=array)
    del array
    assert alive() is not None
    message.ClearField("doubles")
    assert alive() is None


def test_other_arrays_are_converted_and_checked(ours: Any) -> None:
    assert ours(int32s=np.arange(3000, dtype="i8")).int32s == list(range(3000))
    assert ours(doubles=np.arange(6000.0)[::2]).doubles == list(range(0, 6000, 2))
    assert ours(doubles=np.ones((60, 60))).doubles == [1.0] * 3600
    with pytest.raises(ValueError):
        ours(int32s=np.array([2**40]))
    with pytest.raises(TypeError):
        ours(int32s=np.ones(3))


def test_buffers_for_bytes(ours: Any) -> None:
    assert type(ours(some_bytes=bytearray(b"abc")).some_bytes) is bytes
    array = np.arange(10_000, dtype="u1")
    message = ours(some_bytes=array, blobs=[array, memoryview(b"x")])
    assert np.frombuffer(message.some_bytes, "u1").ctypes.data == array.ctypes.data
    assert message.blobs == [array.tobytes(), b"x"]
    with pytest.raises(ValueError):
        hash(message.some_bytes)
    with pytest.raises(TypeError, match="C-contiguous"):
        ours(some_bytes=np.ones((200, 200))[:, ::2])


def test_heap_content_becomes_segments(ours: Any) -> None:
    heap = np.random.default_rng(1).integers(0, 255, 100_000, dtype="u1")
    numbers = heap[8192:16384].view("f4")
    message = ours(
        some_bytes=heap[:5000], floats=numbers, blobs=[heap[20_000:30_000], b"small"], doubles=np.arange(1000.0), self=ours(some_bytes=heap[:4096])
    )
    message.uint64_to_bytes[7] = heap[40_000:50_000]
    inline, segments = _native.encode_segments(message, heap)
    assert segments == [heap[:5000].tobytes(), numbers.tobytes(), heap[20_000:30_000].tobytes()]
    again = _native.decode_image(ours, inline, segments)
    assert again == message and _native.encode_image(again) == _native.encode_image(message)
    assert again.SerializeToString() == message.SerializeToString()


def test_a_received_view_is_sent_on_by_reference(ours: Any) -> None:
    heap = np.arange(10_000, dtype="u1")
    first = ours(some_bytes=heap)
    inline, segments = _native.encode_segments(ours(some_bytes=first.some_bytes, self={"some_bytes": first.some_bytes}), heap)
    assert segments == [heap.tobytes()] * 2 and len(inline) < 4096


def test_nesting_has_a_limit(everything: Any) -> None:
    inner = everything.Everything.Inner()
    at = inner
    with pytest.raises(ValueError, match="deeper"):
        for _ in range(200):
            at = at.next
            at.SetInParent()
