"""Message classes and enums of generated modules.

A generated module makes one File, which holds the serialised descriptor, and asks it for its classes. Everything on the path of a
call is native (mrpc._native); what needs google.protobuf (descriptors, JSON, text) loads it when it is first used.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mrpc import _native

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

ABI_LEVEL = 1
"""What this runtime offers generated code. Raised when generated code starts to need more; never lowered."""
ABI_LEVEL_MIN = 1
"""The oldest generated code that still runs."""


class _Descriptor:
    """Class attribute that is looked up in google.protobuf when it is first asked for."""

    def __get__(self, instance: Any, owner: type[Message]) -> Any:
        return owner._FILE.find_message(owner._FULL_NAME)


class Message(_native.Message):
    """Base of all generated message classes: the manners of google.protobuf's Message, over a message image.

    Like there, a message is not safe to change in one thread while another uses it, and has no hash.
    """

    __slots__ = ()
    DESCRIPTOR: Any = _Descriptor()
    _FILE: File
    _FULL_NAME: str

    def ListFields(self) -> list[tuple[Any, Any]]:
        """(google.protobuf.FieldDescriptor, value) of every field that is set, by number."""
        fields = self.DESCRIPTOR.fields_by_name
        return [(fields[name], value) for name, value in self._list_fields()]

    def IsInitialized(self) -> bool:
        """Whether every required field (proto2) is set."""
        return not self.FindInitializationErrors()

    def FindInitializationErrors(self) -> list[str]:
        """Paths of required fields (proto2) that are not set."""
        from mrpc import _messages_google

        missing: list[str] = _messages_google.to_google(self).FindInitializationErrors()
        return missing

    def UnknownFields(self) -> Any:
        """google.protobuf's UnknownFieldSet of the fields that the class does not know."""
        from google.protobuf.unknown_fields import UnknownFieldSet

        from mrpc import _messages_google

        return UnknownFieldSet(_messages_google.to_google(self))

    def to_json(self, **options: Any) -> str:
        """As mrpc.json.to_json."""
        from mrpc import json

        return json.to_json(self, **options)

    @classmethod
    def from_json(cls, text: str | bytes, **options: Any) -> Any:
        """As mrpc.json.from_json."""
        from mrpc import json

        return json.from_json(cls, text, **options)

    def __repr__(self) -> str:
        from mrpc import _messages_google

        return str(_messages_google.to_google(self))

    __str__ = __repr__

    def __copy__(self) -> Any:
        copied = type(self)()
        copied.CopyFrom(self)
        return copied

    def __deepcopy__(self, memo: Any) -> Any:
        return self.__copy__()

    def __reduce__(self) -> Any:
        return _unpickle, (type(self), self.SerializeToString())


def _unpickle(cls: type[Message], data: bytes) -> Any:
    return cls.FromString(data)


class EnumType:
    """What stands for an enum in generated code, as google.protobuf's EnumTypeWrapper: values are plain ints."""

    def __init__(self, file: File, full_name: str, pairs: Sequence[tuple[str, int]]) -> None:
        self._file = file
        self._full_name = full_name
        self._pairs = tuple(pairs)
        self._numbers = dict(pairs)
        self._names = {number: name for name, number in reversed(self._pairs)}  # of aliases, the first
        self.__doc__ = file.docs.get(full_name)

    @property
    def DESCRIPTOR(self) -> Any:
        """google.protobuf's EnumDescriptor."""
        return self._file.find_enum(self._full_name)

    def Name(self, number: int) -> str:
        """The name of a value. Raises ValueError when there is none, TypeError when it is no int."""
        if not isinstance(number, int):
            raise TypeError(f"Enum value for {self._full_name} must be an int, but got {type(number)} {number!r}.")
        try:
            return self._names[number]
        except KeyError:
            raise ValueError(f"Enum {self._full_name} has no name defined for value {number!r}") from None

    def Value(self, name: str) -> int:
        """The value of a name. Raises ValueError when there is none."""
        try:
            return self._numbers[name]
        except KeyError:
            raise ValueError(f"Enum {self._full_name} has no value defined for name {name!r}") from None

    def keys(self) -> list[str]:
        """All names, in the order of the .proto file."""
        return [name for name, _ in self._pairs]

    def values(self) -> list[int]:
        """All values, in the order of the .proto file."""
        return [number for _, number in self._pairs]

    def items(self) -> list[tuple[str, int]]:
        """All (name, value) pairs, in the order of the .proto file."""
        return list(self._pairs)

    def __getattr__(self, name: str) -> int:
        numbers: dict[str, int] = self.__dict__.get("_numbers", {})
        if name in numbers:
            return numbers[name]
        raise AttributeError(f"Enum {self.__dict__.get('_full_name')} has no value defined for name {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __repr__(self) -> str:
        return f"<enum {self._full_name}>"


class File:
    """One .proto file, as its generated module knows it."""

    def __init__(
        self, module: str, name: str, serialized: bytes, *, dependencies: Sequence[File] = (), docs: dict[str, str] | None = None, abi_level: int
    ) -> None:
        """`serialized` is the FileDescriptorProto; `docs` maps full names to comments.

        Raises ImportError when this runtime does not serve code of `abi_level`.
        """
        if not ABI_LEVEL_MIN <= abi_level <= ABI_LEVEL:
            remedy = "upgrade mrpc" if abi_level > ABI_LEVEL else "generate it again with 'python -m mrpc.protoc'"
            raise ImportError(
                f"{module} was generated for ABI level {abi_level}; this mrpc serves {ABI_LEVEL_MIN} to {ABI_LEVEL}: {remedy}"
            )
        self.module = module
        self.name = name
        self.docs = docs or {}
        self._files: dict[str, bytes] = {}  # this one and what it imports; imports first
        for dependency in dependencies:
            self._files.update(dependency._files)
        self._files[name] = serialized
        file_set = b"".join(b"\n" + _varint(len(data)) + data for data in self._files.values())
        self.schema: _native.Schema = _native.Schema(file_set, tuple(dependency.schema for dependency in dependencies))

    def message(self, full_name: str, owner: type[Message] | None = None) -> Any:
        """Makes a message class; a nested one becomes an attribute of `owner`."""
        name = full_name.rpartition(".")[2]
        qualname = name if owner is None else f"{owner.__qualname__}.{name}"
        cls: Any = self.schema.message_class(
            full_name, self.module, bases=(Message, *_mixins(full_name)), qualname=qualname, doc=self.docs.get(full_name)
        )
        cls._FILE = self
        cls._FULL_NAME = full_name
        if owner is not None:
            setattr(owner, name, cls)
        return cls

    def enum(self, full_name: str, owner: type[Message] | None = None) -> EnumType:
        """Makes an enum; a nested one becomes, as its values do, an attribute of `owner`."""
        enum = EnumType(self, full_name, self.schema.enum_values(full_name))
        if owner is not None:
            setattr(owner, full_name.rpartition(".")[2], enum)
            for name, number in enum.items():
                setattr(owner, name, number)
        return enum

    @property
    def descriptor(self) -> FileDescriptor:
        """google.protobuf's FileDescriptor."""
        from mrpc import _messages_google

        return _messages_google.pool_of(self._files).FindFileByName(self.name)

    def find_message(self, full_name: str) -> Any:
        """google.protobuf's Descriptor of a message that this file knows."""
        return self.descriptor.pool.FindMessageTypeByName(full_name)

    def find_enum(self, full_name: str) -> Any:
        """google.protobuf's EnumDescriptor of an enum that this file knows."""
        return self.descriptor.pool.FindEnumTypeByName(full_name)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _mixins(full_name: str) -> tuple[type, ...]:
    """What google.protobuf adds to a well-known type: FromDatetime, Pack and the like."""
    if not full_name.startswith("google.protobuf."):
        return ()
    from google.protobuf.internal import well_known_types

    mixin = well_known_types.WKTBASES.get(full_name)
    return () if mixin is None else (mixin,)


collections.abc.MutableSequence.register(_native.RepeatedScalar)
collections.abc.MutableSequence.register(_native.Repeated)
collections.abc.MutableMapping.register(_native.Map)
