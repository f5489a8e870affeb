"""Method handlers: what a server runs for a path, and how gRPC programs register them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ._errors import Metadatum


class RpcMethodHandler:
    """How to serve one method. Exactly one of the four behaviours is set, as the two `..._streaming` flags tell.

    The (de)serialisers are those of generated classes (`Reply.SerializeToString`, `Request.FromString`): on the mesh they
    are not called but name the class, since messages travel unserialised.
    """

    __slots__ = (
        "request_streaming", "response_streaming", "request_deserializer", "response_serializer",
        "unary_unary", "unary_stream", "stream_unary", "stream_stream",
    )  # fmt: skip

    def __init__(
        self,
        behavior: Callable[..., Any] | None = None,
        request_deserializer: Callable[[bytes], Any] | None = None,
        response_serializer: Callable[[Any], bytes] | None = None,
        request_streaming: bool = False,
        response_streaming: bool = False,
    ) -> None:
        self.request_streaming, self.response_streaming = request_streaming, response_streaming
        self.request_deserializer, self.response_serializer = request_deserializer, response_serializer
        self.unary_unary = behavior if not request_streaming and not response_streaming else None
        self.unary_stream = behavior if not request_streaming and response_streaming else None
        self.stream_unary = behavior if request_streaming and not response_streaming else None
        self.stream_stream = behavior if request_streaming and response_streaming else None

    @property
    def behavior(self) -> Callable[..., Any] | None:
        """The one that is set."""
        return self.unary_unary or self.unary_stream or self.stream_unary or self.stream_stream


def _factory(request_streaming: bool, response_streaming: bool) -> Callable[..., RpcMethodHandler]:
    def make(
        behavior: Callable[..., Any],
        request_deserializer: Callable[[bytes], Any] | None = None,
        response_serializer: Callable[[Any], bytes] | None = None,
    ) -> RpcMethodHandler:
        """A handler for a method of this kind that is served by `behavior(request, context)`."""
        return RpcMethodHandler(behavior, request_deserializer, response_serializer, request_streaming, response_streaming)

    return make


unary_unary_rpc_method_handler = _factory(False, False)
unary_stream_rpc_method_handler = _factory(False, True)
stream_unary_rpc_method_handler = _factory(True, False)
stream_stream_rpc_method_handler = _factory(True, True)


class HandlerCallDetails(NamedTuple):
    """What handlers and interceptors of a server are told about a call. `method` is the path."""

    method: str
    invocation_metadata: tuple[Metadatum, ...]


class GenericRpcHandler(abc.ABC):
    """Finds the handler of a call."""

    @abc.abstractmethod
    def service(self, handler_call_details: HandlerCallDetails) -> RpcMethodHandler | None:
        """The handler, or None when this object does not serve that method."""


class ServiceRpcHandler(GenericRpcHandler):
    """Handlers of one service."""

    @abc.abstractmethod
    def service_name(self) -> str:
        """The service's full name."""


@dataclasses.dataclass(frozen=True)
class DictionaryHandler(ServiceRpcHandler):
    """Handlers of one service by method name: what `method_handlers_generic_handler` makes."""

    name: str
    handlers: Mapping[str, RpcMethodHandler]

    def service_name(self) -> str:
        return self.name

    def service(self, handler_call_details: HandlerCallDetails) -> RpcMethodHandler | None:
        prefix, _, method = handler_call_details.method.rpartition("/")
        return self.handlers.get(method) if prefix == f"/{self.name}" else None


def method_handlers_generic_handler(service: str, method_handlers: Mapping[str, RpcMethodHandler]) -> DictionaryHandler:
    """A handler for the service of full name `service`, whose methods `method_handlers` holds by name."""
    return DictionaryHandler(service, dict(method_handlers))


def handlers_by_method(generic: Sequence[GenericRpcHandler]) -> dict[str, dict[str, RpcMethodHandler]]:
    """Service full name -> method name -> handler, of handlers whose methods are known beforehand.

    Raises TypeError for a handler that is asked per call only: the mesh offers services by their schema.
    """
    services: dict[str, dict[str, RpcMethodHandler]] = {}
    for handler in generic:
        if not isinstance(handler, DictionaryHandler):
            raise TypeError(
                f"{type(handler).__name__} tells its methods only call by call; make it with "
                "mrpc.method_handlers_generic_handler(service, handlers), so that the mesh knows what is offered"
            )
        services.setdefault(handler.name, {}).update(handler.handlers)
    return services
