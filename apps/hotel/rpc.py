"""The one switch: HOTEL_RPC=mrpc (the default) or grpc. Everything else in the application is the same for both.

Exports rpc (the module mrpc or grpc, with the same names), pb (messages) and pb_grpc (stubs and servicers), and the same of
the health check.
"""
from __future__ import annotations

import os
from importlib import import_module

from . import generate

SYSTEM = os.environ.get("HOTEL_RPC", "mrpc")
if SYSTEM not in generate.SYSTEMS:
    raise SystemExit(f"HOTEL_RPC={SYSTEM}: choose one of {', '.join(generate.SYSTEMS)}")

if SYSTEM == "mrpc":
    import mrpc as rpc
else:
    import grpc as rpc

generate.ensure(SYSTEM)
pb = import_module(f".generated.{SYSTEM}.hotel_pb2", __package__)
pb_grpc = import_module(f".generated.{SYSTEM}.hotel_pb2_grpc", __package__)

health_pb = import_module(f".generated.{SYSTEM}.health_pb2", __package__)
health_pb_grpc = import_module(f".generated.{SYSTEM}.health_pb2_grpc", __package__)

__all__ = ["SYSTEM", "health_pb", "health_pb_grpc", "pb", "pb_grpc", "rpc"]
