"""The bridge to google.protobuf: descriptors in pools of our own, and the same message as a class of theirs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

if TYPE_CHECKING:
    from mrpc._messages import Message

_pools: list[tuple[DescriptorPool, dict[str, bytes]]] = []


def pool_of(files: dict[str, bytes]) -> DescriptorPool:
    """A pool that has `files` (name to serialised descriptor, imports first).

    One pool serves everything, so that a type has one descriptor; another is made only for a file that exists in two versions.
    """
    for pool, known in _pools:  # noqa: B007 (used after the loop)
        if all(known.get(name, data) == data for name, data in files.items()):
            break
    else:
        pool, known = DescriptorPool(), {}
        _pools.append((pool, known))
    for name, data in files.items():
        if name not in known:
            pool.AddSerializedFile(data)
            known[name] = data
    return pool


@cache
def google_class(cls: type[Message]) -> type[Any]:
    """google.protobuf's class for the same message type."""
    return message_factory.GetMessageClass(cls.DESCRIPTOR)


def to_google(message: Message) -> Any:
    """The same message as an object of google.protobuf."""
    return google_class(type(message)).FromString(message.SerializeToString())
