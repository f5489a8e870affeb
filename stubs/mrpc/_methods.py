"""Which schema and classes a method has: told by generated code, or found by path for code that was generated for gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import _native
from ._handlers import RpcMethodHandler


class Method(NamedTuple):
    """A method as channels and servers need it. Generated MethodInfo objects have these attributes too."""

    path: str
    schema: Any
    service: str
    request_class: type
    reply_class: type
    client_streaming: bool = False
    server_streaming: bool = False


class Service(NamedTuple):
    """A service as servers need it. Generated ServiceInfo objects have these attributes too."""

    full_name: str
    schema: Any
    methods: tuple[Method, ...]


def resolve_method(
    method: Any, request_serializer: Callable[..., Any] | None, response_deserializer: Callable[..., Any] | None
) -> Any:
    """`method` itself when generated code gave a MethodInfo; else what the (de)serialisers' class knows of the path.

    Raises ValueError when they are not those of mrpc's generated classes.
    """
    if not isinstance(method, str | bytes):
        return method
    path = method.decode() if isinstance(method, bytes) else method
    return _find(path, response_deserializer, request_serializer)


def service_info_of_handlers(full_name: str, handlers: Mapping[str, RpcMethodHandler]) -> Service:
    """The service that handlers registered gRPC's way belong to. Raises ValueError when their classes do not tell it."""
    methods = [_find(f"/{full_name}/{name}", one.request_deserializer, one.response_serializer) for name, one in handlers.items()]
    if not methods:
        raise ValueError(f"service {full_name} was given without handlers")
    known = {method.path: method for method in methods}
    some = methods[0]
    everything = (
        known.get(path) or _find(path, some.request_class.FromString) for path in _native.method_paths(some.schema, full_name)
    )
    return Service(full_name, some.schema, tuple(everything))


def _find(path: str, *serializers: Callable[..., Any] | None) -> Method:
    for serializer in serializers:
        owner = getattr(serializer, "__self__", None)  # of `Class.FromString`
        found = isinstance(owner, _native.MessageMeta) and _native.find_method(owner, path)
        if found:
            return Method(path, *found)
    raise ValueError(
        f"cannot tell the schema of {path}: make its module with 'python -m mrpc.protoc' "
        "(option grpc_names keeps gRPC's module names)"
    )
