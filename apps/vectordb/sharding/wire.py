"""Generated code of shard.proto, and keys of metadata between router and shards."""
from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from apps import codegen

from .. import transport

EPOCH_KEY = "vectordb-epoch"
TENANT_KEY = transport.TENANT_KEY


class Wire(NamedTuple):
    pb: Any
    pb_grpc: Any


@cache
def load() -> Wire:
    transport.load("mrpc")  # whose messages these services use
    codegen.ensure(transport.APP, "mrpc", [codegen.PROTO / "vectordb" / "shard.proto"])
    return Wire(transport.generated("mrpc", "shard_pb2"), transport.generated("mrpc", "shard_pb2_grpc"))
