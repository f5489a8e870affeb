"""What generated code tells channels and servers of a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MethodInfo:
    """One method: `path` is "/package.Service/Method", `service` the service's full name."""

    path: str
    request_class: type[Any]
    reply_class: type[Any]
    client_streaming: bool
    server_streaming: bool
    schema: Any = field(repr=False)
    service: str

    @property
    def name(self) -> str:
        """The method's own name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class ServiceInfo:
    """One service and its methods, in the order of the .proto file. `schema` is a mrpc._native.Schema."""

    full_name: str
    schema: Any = field(repr=False)
    methods: tuple[MethodInfo, ...]
