"""The one switch: over mRPC, or over plain gRPC, with which it is compared. Everything else is the same for both.

Over mRPC the tenant of a call is what the daemon verified. Over plain gRPC nobody verifies anything: the tenant is what
the caller wrote into metadata, which is good for comparing speed and for nothing else.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from apps import codegen

SYSTEMS = codegen.SYSTEMS
TENANT_KEY = "mrpc-tenant"
"""Metadata in which a caller says for whom it calls."""
MESSAGE_BYTES_MAX = 96 << 20
OPTIONS = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.max_send_message_length", MESSAGE_BYTES_MAX))
"""For channels and servers: gRPC's own limit of 4 MiB is less than a batch. Over mRPC the daemon's limit holds."""

APP = Path(__file__).parent
_SCHEMA = codegen.PROTO / "vectordb" / "vectordb.proto"
_HEALTH = codegen.PROTO / "grpc" / "health" / "v1" / "health.proto"
_ERRORS = codegen.PROTO / "google" / "rpc" / "error.proto"


@dataclass(frozen=True)
class Transport:
    """system: its name. rpc: the module mrpc or grpc. pb, pb_grpc: messages, stubs and servicers."""
    system: str
    rpc: Any
    pb: Any
    pb_grpc: Any

    def tenant(self, context: Any) -> str | None:
        """On whose behalf the call is made."""
        if self.system == "mrpc":
            return context.tenant()
        return next((value for key, value in context.invocation_metadata() if key == TENANT_KEY), None)


@cache
def load(system: str) -> Transport:
    """The transport of that name. ValueError for another; RuntimeError when its code cannot be generated."""
    if system not in SYSTEMS:
        raise ValueError(f"the transport is one of {', '.join(SYSTEMS)}, not {system!r}")
    codegen.ensure(APP, system, [_SCHEMA])
    return Transport(system, import_module(system), generated(system, "vectordb_pb2"), generated(system, "vectordb_pb2_grpc"))


def mesh_modules() -> tuple[Any, ...]:
    """Over mRPC: messages and servicer of the health check, and messages of google.rpc's errors."""
    codegen.ensure(APP, "mrpc", [_HEALTH, _ERRORS])
    return tuple(generated("mrpc", name) for name in ("health_pb2", "health_pb2_grpc", "error_pb2"))


def generated(system: str, name: str) -> Any:
    return import_module(f".generated.{system}.{name}", __package__)
