"""Random messages go every way round, and agree with google.protobuf at each step."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrpc import _native
from mrpc._messages_google import google_class

from .strategies import build, plans

COMMON = settings(max_examples=150, suppress_health_check=list(HealthCheck))


def draw_pair(data: st.DataObject, everything: Any) -> tuple[Any, Any]:
    plan = data.draw(plans(everything.Everything.DESCRIPTOR))
    return build(everything.Everything(), plan), build(google_class(everything.Everything)(), plan)


def same(wire: bytes, theirs: Any) -> bool:
    """Whether `wire` says what `theirs` does. (Bytes may differ: google sorts the keys of maps in another way.)"""
    return type(theirs).FromString(wire) == theirs


@COMMON
@given(data=st.data())
def test_bytes_image_and_back(everything: Any, data: st.DataObject) -> None:
    ours, theirs = draw_pair(data, everything)
    image = _native.encode_image(ours)
    received = _native.decode_image(type(ours), image)
    assert received == ours
    assert _native.encode_image(received) == image
    wire = received.SerializeToString(deterministic=True)
    assert wire == ours.SerializeToString() and same(wire, theirs)
    assert ours.ByteSize() == theirs.ByteSize()
    parsed = type(ours).FromString(wire)
    assert parsed == ours and _native.encode_image(parsed) == image


@COMMON
@given(data=st.data())
def test_text_and_json(everything: Any, data: st.DataObject) -> None:
    ours, theirs = draw_pair(data, everything)
    assert repr(ours) == repr(theirs)
    assert [field.name for field, _ in ours.ListFields()] == [field.name for field, _ in theirs.ListFields()]
    try:
        text = json_format.MessageToJson(theirs)
    except (json_format.SerializeToJsonError, ValueError):
        return  # a timestamp out of range, an infinite number in a Value
    assert json.loads(ours.to_json()) == json.loads(text)
    try:
        again = json_format.Parse(text, type(theirs)())
    except json_format.ParseError:
        return  # JSON nulls among Values do not read back
    assert same(type(ours).from_json(text).SerializeToString(), again)


@COMMON
@given(data=st.data())
def test_copies_are_equal_and_apart(everything: Any, data: st.DataObject) -> None:
    ours, _ = draw_pair(data, everything)
    received = _native.decode_image(type(ours), _native.encode_image(ours))
    before = ours.SerializeToString()
    for source in (ours, received):
        for made in (copy.copy(source), copy.deepcopy(source), pickle.loads(pickle.dumps(source)), type(ours)(self=source).self):
            assert made == ours
            made.an_inner.next.id = 77
            made.strings.append("more")
            made.string_to_inner["k"].id = 8
            made.int32s.append(5)
            assert made != source and source.SerializeToString() == before


@COMMON
@given(data=st.data())
def test_merging_agrees(everything: Any, data: st.DataObject) -> None:
    (ours, theirs), (our_other, their_other) = draw_pair(data, everything), draw_pair(data, everything)
    ours.MergeFrom(_native.decode_image(type(ours), _native.encode_image(our_other)))
    theirs.MergeFrom(their_other)
    assert same(ours.SerializeToString(), theirs)
    ours.CopyFrom(our_other)
    assert ours == our_other


@COMMON
@given(data=st.data())
def test_changing_a_received_message_agrees(everything: Any, data: st.DataObject) -> None:
    ours, theirs = draw_pair(data, everything)
    ours = _native.decode_image(type(ours), _native.encode_image(ours))
    change = data.draw(plans(type(ours).DESCRIPTOR, depth=1))
    cleared = data.draw(st.lists(st.sampled_from([field.name for field in type(ours).DESCRIPTOR.fields])))
    for message in (ours, theirs):
        for name in cleared:
            message.ClearField(name)
        build(message, change)
    assert same(ours.SerializeToString(), theirs)
    assert _native.decode_image(type(ours), _native.encode_image(ours)) == ours


@COMMON
@given(data=st.data())
def test_unknown_fields_are_kept(everything: Any, data: st.DataObject) -> None:
    ours, theirs = draw_pair(data, everything)
    little = everything.Little.FromString(ours.SerializeToString())
    little = _native.decode_image(everything.Little, _native.encode_image(little))
    little.an_int32 = theirs.an_int32 = 12
    assert same(little.SerializeToString(), theirs)


@settings(COMMON, max_examples=500)
@given(wire=st.binary(max_size=60))
def test_hostile_bytes_agree(everything: Any, wire: bytes) -> None:
    try:
        theirs = google_class(everything.Everything).FromString(wire)
    except Exception as error:
        assert type(error).__name__ == "DecodeError"
        theirs = None
    try:
        ours = everything.Everything.FromString(wire)
    except Exception as error:
        assert type(error).__name__ == "DecodeError"
        return
    assert theirs is not None
    assert same(ours.SerializeToString(), type(theirs).FromString(theirs.SerializeToString()))


@settings(COMMON, max_examples=500)
@given(data=st.data())
def test_hostile_images_are_refused_or_read(everything: Any, data: st.DataObject) -> None:
    ours, _ = draw_pair(data, everything)
    image = bytearray(_native.encode_image(ours))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        received = _native.decode_image(type(ours), bytes(image))
    except ValueError:
        return
    assert received.SerializeToString() == type(ours).FromString(received.SerializeToString()).SerializeToString()
