"""The same operations on our message and on google.protobuf's: same results, same kinds of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def plain(value: Any) -> Any:
    """What can be compared between the two kinds of messages."""
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString(deterministic=True)
    if hasattr(value, "keys"):
        return {key: plain(value[key]) for key in list(value.keys())}
    if hasattr(value, "append"):
        return [plain(each) for each in value]
    return value


def outcome(message: Any, google: Any, operation: Callable[[Any], Any]) -> Any:
    try:
        result = plain(operation(message))
    except Exception as error:
        result = type(error).__name__
    return result, google.FromString(message.SerializeToString())  # google sorts maps in another way


def run(text: str) -> Callable[[Any], Any]:
    """Statements on `m`; the value of the last one, an expression, is the result."""
    *statements, last = text.split("; ")

    def operation(m: Any) -> Any:
        scope = {"m": m, "cls": type(m)}
        for statement in statements:
            exec(statement, scope)
        return eval(last, scope)

    return operation


OPERATIONS = [
    # scalars
    "m.an_int32 = 5; m.an_int32",
    "m.an_int32 = True; m.an_int32",
    "m.an_int32 = 2**31; 0",
    "m.an_int32 = -2**31 - 1; 0",
    "m.an_int32 = 1.0; 0",
    "m.an_int32 = 'x'; 0",
    "m.an_int32 = None; 0",
    "m.a_uint32 = -1; 0",
    "m.a_uint64 = 2**64 - 1; m.a_uint64",
    "m.a_uint64 = 2**64; 0",
    "m.an_int64 = 2**63; 0",
    "m.a_float = 0.1; m.a_float",
    "m.a_float = 1e300; m.a_float",
    "m.a_float = 3; m.a_float",
    "m.a_double = 'x'; 0",
    "m.a_double = -0.0; str(m.a_double)",
    "m.a_bool = 2; m.a_bool",
    "m.a_bool = 'x'; 0",
    "m.a_string = 'h\\u00e9'; m.a_string",
    "m.a_string = b'abc'; m.a_string",
    "m.a_string = b'\\xff'; 0",
    "m.a_string = '\\ud800'; 0",
    "m.a_string = 5; 0",
    "m.some_bytes = b'abc'; m.some_bytes",
    "m.some_bytes = 'abc'; 0",
    "m.a_size = 2; m.a_size",
    "m.a_size = 'SIZE_LARGE'; m.a_size",
    "m.a_size = 'SIZE_NONE'; 0",
    "m.a_size = 99; m.a_size",
    "m.a_size = 2**31; 0",
    "m.nothing = 5; 0",
    "m.nothing",
    "m.an_int32 = 0; m.maybe_int32 = 0; m.HasField('maybe_int32')",
    # constructor
    "cls(an_int32=3, a_string='x')",
    "cls(nothing=3)",
    "cls(an_int32='x')",
    "cls(an_int32=None, strings=None, an_inner=None)",
    "cls(an_inner={'id': 3, 'next': {'id': 4}})",
    "cls(an_inner={'nothing': 3})",
    "cls(an_inner=cls.Inner(id=3))",
    "cls(an_inner=cls())",
    "cls(an_inner={}).HasField('an_inner')",
    "cls(inners=[{'id': 1}, cls.Inner(id=2)])",
    "cls(strings=['a', 'b'], int32s=(1, 2), sizes=['SIZE_SMALL', 2])",
    "cls(strings='ab')",
    "cls(int32s=5)",
    "cls(string_to_int={'a': 1}, int_to_string={5: 'x'})",
    "cls(string_to_inner={'a': cls.Inner(id=1)})",
    "cls(chosen_int=0).WhichOneof('choice')",
    "cls(5)",
    # presence
    "m.HasField('an_inner')",
    "m.HasField('an_int32')",
    "m.HasField('strings')",
    "m.HasField('nothing')",
    "m.HasField('choice')",
    "m.an_inner.id; m.HasField('an_inner')",
    "m.an_inner.id = 0; m.HasField('an_inner')",
    "m.an_inner.next.next.id = 5; m.HasField('an_inner')",
    "m.an_inner.children.append(cls.Inner()); m.HasField('an_inner')",
    "m.an_inner.by_name['x'].id = 1; m.HasField('an_inner')",
    "m.an_inner.by_name['x']; m.HasField('an_inner')",
    "m.an_inner.SetInParent(); m.HasField('an_inner')",
    "m.an_inner.Clear(); m.HasField('an_inner')",
    "m.an_inner.CopyFrom(cls.Inner()); m.HasField('an_inner')",
    "m.an_inner.MergeFrom(cls.Inner()); m.HasField('an_inner')",
    "m.an_inner.ParseFromString(b''); m.HasField('an_inner')",
    "m.an_inner.ClearField('id'); m.HasField('an_inner')",
    "i = m.an_inner; i.id = 5; m.ClearField('an_inner'); i.id = 6; i",
    "i = m.an_inner; m.ClearField('an_inner'); i.id = 6; m.HasField('an_inner')",
    "m.maybe_string = ''; m.HasField('maybe_string')",
    "m.maybe_string = 'x'; m.ClearField('maybe_string'); m.HasField('maybe_string')",
    "m.ClearField('nothing')",
    "m.an_inner = cls.Inner(); 0",
    "m.strings = ['a']; 0",
    "m.string_to_int = {'a': 1}; 0",
    # oneof
    "m.chosen_int = 0; m.WhichOneof('choice')",
    "m.chosen_int = 5; m.chosen_string = ''; (m.WhichOneof('choice'), m.chosen_int)",
    "m.chosen_int = 5; m.chosen_inner.id; m.WhichOneof('choice')",
    "m.chosen_int = 5; m.chosen_inner.id = 3; m.WhichOneof('choice')",
    "m.chosen_inner.id = 3; m.chosen_bytes = b'x'; m.HasField('chosen_inner')",
    "m.chosen_int = 5; m.ClearField('choice'); m.WhichOneof('choice')",
    "m.chosen_int = 5; m.ClearField('chosen_string'); m.WhichOneof('choice')",
    "m.WhichOneof('nothing')",
    # repeated scalars
    "m.int32s.append(5); m.int32s.extend([1, 2]); m.int32s",
    "m.int32s.append('x')",
    "m.int32s.append(2**31)",
    "m.int32s.extend([1, 'x'])",
    "m.int32s.extend(range(5)); m.int32s[1:3]",
    "m.int32s.extend(range(5)); m.int32s[-1]",
    "m.int32s.extend(range(5)); m.int32s[7]",
    "m.int32s.extend(range(5)); m.int32s[::2]",
    "m.int32s.extend(range(5)); m.int32s[1:3] = [9, 9, 9]; m.int32s",
    "m.int32s.extend(range(5)); m.int32s[2] = 9; m.int32s",
    "m.int32s.extend(range(5)); m.int32s[2] = 'x'; m.int32s",
    "m.int32s.extend(range(5)); m.int32s[9] = 1; m.int32s",
    "m.int32s.extend(range(5)); del m.int32s[2]; m.int32s",
    "m.int32s.extend(range(5)); del m.int32s[1:3]; m.int32s",
    "m.int32s.extend(range(5)); (m.int32s.pop(), m.int32s.pop(0))",
    "m.int32s.pop()",
    "m.int32s.extend(range(5)); m.int32s.remove(3)",
    "m.int32s.remove(3)",
    "m.int32s.extend(range(5)); m.int32s.insert(1, 7)",
    "m.int32s.extend([3, 1, 2]); m.int32s.sort(); m.int32s",
    "m.int32s.extend([3, 1, 2]); m.int32s.sort(key=lambda x: -x); m.int32s",
    "m.int32s.extend([3, 1, 2]); m.int32s.sort(reverse=True); m.int32s",
    "m.int32s.extend([3, 1, 2]); m.int32s.reverse(); m.int32s",
    "m.int32s.extend([3, 1, 2]); m.int32s == [3, 1, 2]",
    "m.int32s.extend([3, 1, 2]); m.int32s == (3, 1, 2)",
    "m.int32s.extend([3, 1, 2]); m.int32s != m.int64s",
    "m.int32s.extend([3, 1, 2]); 3 in m.int32s",
    "m.int32s.extend([3, 1, 2]); repr(m.int32s)",
    "m.bools.extend([True, 0, 1]); m.bools",
    "m.sizes.extend(['SIZE_SMALL', 2, 77]); m.sizes",
    "m.floats.extend([0.1, 2]); m.floats",
    "m.int32s.extend(None)",
    "hash(m.int32s)",
    "len(m.int32s)",
    "bool(m.int32s)",
    # repeated strings and messages
    "m.strings.extend(['a', 'b']); m.strings[0] = 'z'; m.strings",
    "m.strings.extend(['a', 'b']); m.strings[:] = ['q']; m.strings",
    "m.strings.append(5)",
    "m.strings.extend(['b', 'a']); m.strings.sort(); m.strings",
    "m.blobs.append(b'x'); m.blobs[0]",
    "m.inners.add(id=3).name = 'x'; m.inners",
    "m.inners.add(nothing=3)",
    "i = cls.Inner(id=1); m.inners.append(i); i.id = 2; m.inners[0].id",
    "m.inners.append({'id': 1})",
    "m.inners.append(None)",
    "m.inners.extend([cls.Inner(id=1), cls.Inner(id=2)]); m.inners[1].id = 5; m.inners",
    "m.inners.extend([cls.Inner(id=1), cls.Inner(id=2)]); i = m.inners.pop(0); i.id = 9; m.inners",
    "m.inners.extend([cls.Inner(id=1), cls.Inner(id=2)]); m.inners.remove(cls.Inner(id=2)); m.inners",
    "m.inners.extend([cls.Inner(id=1), cls.Inner(id=2)]); del m.inners[0]; m.inners",
    "m.inners.extend([cls.Inner(id=1), cls.Inner(id=2)]); del m.inners[:]; m.inners",
    "m.inners.extend([cls.Inner(id=1), cls.Inner(id=2)]); m.inners[0] = cls.Inner(); m.inners",
    "m.inners.extend([cls.Inner(id=2), cls.Inner(id=1)]); m.inners.sort(key=lambda i: i.id); m.inners",
    "m.inners.extend([cls.Inner(id=2), cls.Inner(id=1)]); m.inners.reverse(); m.inners",
    "m.inners.insert(0, cls.Inner(id=3)); m.inners",
    "m.inners.add(); m.inners == [cls.Inner()]",
    "m.inners.add(id=4); [i.id for i in m.inners]",
    "m.inners[0]",
    # maps
    "m.string_to_int['a'] = 1; m.string_to_int",
    "m.string_to_int['a']",
    "m.string_to_int['a']; m.string_to_int",
    "m.string_to_int[5] = 1; 0",
    "m.string_to_int['a'] = 'x'; 0",
    "m.int_to_string[2**31] = 'x'; 0",
    "m.int_to_string[1] = 'x'; m.int_to_string.get(1)",
    "m.int_to_string.get(1)",
    "m.int_to_string.get(1, 'd')",
    "m.int_to_string.get('x')",
    "1 in m.int_to_string",
    "'x' in m.int_to_string",
    "m.bool_to_double[True] = 1; m.bool_to_double[False] = 2; m.bool_to_double",
    "m.int_to_string.update({1: 'a', 2: 'b'}); len(m.int_to_string)",
    "m.int_to_string.update({1: 'a', 2: 'b'}); del m.int_to_string[1]; m.int_to_string",
    "del m.int_to_string[1]; 0",
    "m.int_to_string.update({1: 'a', 2: 'b'}); m.int_to_string.pop(1)",
    "m.int_to_string.setdefault(1, 'd')",
    "m.int_to_string.update({1: 'a'}); m.int_to_string.clear(); m.int_to_string",
    "m.int_to_string.update({1: 'a'}); dict(m.int_to_string)",
    "m.int_to_string.update({1: 'a'}); m.int_to_string == {1: 'a'}",
    "m.int_to_string.update({1: 'a', 5: 'x'}); sorted(m.int_to_string)",
    "m.int_to_string.update({1: 'a'}); list(m.int_to_string.items())",
    "m.string_to_inner['a'].id = 5; m.string_to_inner",
    "m.string_to_inner['a']; m.string_to_inner",
    "m.string_to_inner['a'] = cls.Inner(); 0",
    "m.string_to_inner.get_or_create('a').id = 3; m.string_to_inner",
    "m.string_to_inner['a'].id = 5; i = m.string_to_inner.pop('a'); i.id = 6; i",
    "m.string_to_inner['a'].id = 5; m.string_to_inner.MergeFrom(m.string_to_inner); m.string_to_inner",
    "m.string_to_inner['a'].CopyFrom(cls.Inner(id=4)); m.string_to_inner",
    # whole messages
    "m.CopyFrom(cls(an_int32=4)); m",
    "m.CopyFrom(cls.Inner()); m",
    "m.an_int32 = 4; m.CopyFrom(m); m",
    "m.an_int32 = 4; m.inners.add(id=3); m.an_inner.id = 3; m.CopyFrom(cls(a_string='x')); m",
    "m.MergeFrom(cls(strings=['a'])); m.MergeFrom(cls(strings=['b'], an_inner={'id': 4})); m",
    "m.an_int32 = 3; m.Clear(); m",
    "m == cls()",
    "m != cls()",
    "m == 5",
    "m.a_double = float('nan'); m == m.__class__(a_double=float('nan'))",
    "hash(m)",
    "m.an_int32 = 3; m.ByteSize()",
    "m.IsInitialized()",
    "cls.FromString(b'\\xff')",
    "m.an_int32 = 3; m.ParseFromString(b'')",
    "m.an_int32 = 3; m.MergeFromString(b'\\x28\\x05')",
    "cls.FromString(b'\\xf2\\x7e\\x01x').SerializeToString()",
    "m.MergeFromString(b'\\xf2\\x7e\\x01x'); m.DiscardUnknownFields(); m",
    "cls.AN_INT32_FIELD_NUMBER",
    "cls.DESCRIPTOR.full_name",
    "cls.Inner.DESCRIPTOR.full_name",
    "[f.name for f, _ in cls(an_int32=1, strings=['x'], an_inner={}).ListFields()]",
    "cls.MOOD_GOOD",
    "cls.Mood.Name(1)",
    "cls.Mood.Name(9)",
    "cls.Mood.Name('x')",
    "cls.Mood.Value('MOOD_GOOD')",
    "cls.Mood.Value('x')",
    "(list(cls.Mood.keys()), list(cls.Mood.values()), list(cls.Mood.items()))",
    "cls.Mood.MOOD_GOOD",
    "repr(cls(an_int32=3, strings=['x']))",
    "str(cls(an_inner={'name': 'h\\u00e9'}))",
]


@pytest.mark.parametrize("text", OPERATIONS)
def test_as_google_does(ours: Any, theirs: Any, text: str) -> None:
    assert outcome(ours(), theirs, run(text)) == outcome(theirs(), theirs, run(text))


@pytest.mark.parametrize("text", OPERATIONS)
def test_as_google_does_on_a_received_message(ours: Any, theirs: Any, text: str) -> None:
    wire = theirs(
        an_int32=9, a_string="old", an_inner={"id": 1, "name": "n"}, chosen_string="s", int32s=[8, 3], strings=["o"], maybe_string="m"
    ).SerializeToString()
    assert outcome(ours.FromString(wire), theirs, run(text)) == outcome(theirs.FromString(wire), theirs, run(text))
