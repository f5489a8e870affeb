"""The reader of logs on bytes that nobody wrote: it gives whole transactions in order, and never more than was written."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.vectordb.database import Damaged, Invalid, frames

MAGIC = b"MRPCTEST"
BODIES = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=3), min_size=1, max_size=6)


SALTS = st.sampled_from([0, 1, 2**32 - 1])


def written(transactions: list[list[bytes]], durable_lag: int = 1, salt: int = 7) -> bytes:
    """A file of the transactions; each knows those before the last `durable_lag` to be durable."""
    parts, sequence = [frames.header(MAGIC, 3, 1, salt)], 0
    for bodies in transactions:
        durable = max(0, sequence - durable_lag + 1)
        for at, body in enumerate(bodies, 1):
            sequence += 1
            parts += frames.encode(body, sequence, durable, more=at < len(bodies), salt=salt)
    return b"".join(parts)


def read(data: bytes) -> tuple[list[list[bytes]], frames.Reader]:
    view = memoryview(data)
    generation, first, salt = frames.read_header(view, MAGIC, "file")
    assert (generation, first) == (3, 1)
    reader = frames.Reader(view, 1, salt=salt)
    return [[bytes(body) for body in bodies] for bodies in reader], reader


@given(BODIES, st.integers(0, 100), SALTS)
def test_what_was_written_is_read(transactions: list[list[bytes]], room: int, salt: int) -> None:
    data = written(transactions, salt=salt) + bytes(room)
    found, reader = read(data)
    assert found == transactions
    assert (reader.end, reader.torn(), reader.damage()) == (len(data) - room, 0, None)


def test_a_body_that_a_reader_would_not_take_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BODY_MAX", 100)
    assert read(written([[bytes(100)]]))[0] == [[bytes(100)]]
    with pytest.raises(Invalid, match="in parts"):
        written([[bytes(101)]])


def test_a_body_that_looks_like_a_later_frame_is_no_evidence() -> None:
    forged = b"".join(frames.encode(b"forged", 4, 3, more=False))
    whole = written([[b"one"], [forged + bytes(8)]])
    found, reader = read(whole[:-1])  # cut in the middle of a write, behind what looks like a frame
    assert found == [[b"one"]]
    assert reader.damage() is None


@given(BODIES, st.data())
def test_a_cut_file_gives_a_prefix(transactions: list[list[bytes]], data: st.DataObject) -> None:
    whole = written(transactions)
    end = data.draw(st.integers(frames.HEADER.size, len(whole)))
    found, reader = read(whole[:end] + bytes(data.draw(st.integers(0, 64))))
    assert found == transactions[:len(found)]
    assert reader.damage() is None


@settings(max_examples=300)
@given(BODIES, st.data())
def test_a_flipped_bit_gives_a_prefix_and_is_told_from_a_torn_tail(transactions: list[list[bytes]], data: st.DataObject) -> None:
    whole = bytearray(written(transactions))
    at = data.draw(st.integers(frames.HEADER.size, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    found, reader = read(bytes(whole))
    assert found == transactions[:len(found)] and len(found) < len(transactions)
    later = len(found) < len(transactions) - 1  # then a frame follows that knew the bad one to be durable
    assert (reader.damage() is not None) == later


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    reader = frames.Reader(memoryview(data), 1, 0)
    list(reader)
    reader.torn(), reader.damage()
    try:
        frames.read_header(memoryview(data), MAGIC, "file")
    except Damaged as error:
        assert "file" in str(error)


def test_a_later_transaction_does_not_pass_for_an_earlier_one() -> None:
    whole = written([[b"one"], [b"two"], [b"three"]])
    frame = frames.size_of(b"one")
    found, reader = read(whole[:frames.HEADER.size] + whole[frames.HEADER.size + frame:])
    assert found == []
    assert reader.damage() == frames.HEADER.size
