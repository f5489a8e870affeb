"""The same programs as Python classes: what an evaluation takes without a compiler."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bench.policy.binding import PACKAGE
from bench.policy.costs import OTHERS, SIMPLE
from bench.policy.mesh import Kit
from bench.policy.scale import Bench
from mrpc_service.policy.interpreter import Interpreter
from mrpc_service.policy.language import Token
from mrpc_service.policy.source import read

POLICIES = Path(__file__).parents[2] / "policies"
LEAD = 2  # what a store says when nothing is kept
CALL = {"now_ns": 10**18, "unix_ns": 1_700_000_000 * 10**9, "started_ns": 10**18, "deadline_ns": 0, "message_bytes": 64, "first": 1, "last": 1,
        "status": 0, "denied": 0, "client": "client", "server": "server", "service": f"{PACKAGE}.Echo", "method": "Call", "tenant": "client"}


class Nobody:
    """A host that keeps nothing and lets everything pass."""

    def metadata(self, key: bytes) -> bytes | None:
        return None

    def set_metadata(self, key: bytes, value: bytes) -> bool:
        return False

    def set_field(self, path: str, value: bytes | float) -> bool:
        return False

    def random(self) -> int:
        return 1 << 63

    def log(self, text: bytes) -> None: ...

    def answer(self, store: int, key: bytes) -> int:
        return LEAD

    def store(self, store: int, ttl_ns: int, bytes_max: int) -> None: ...

    def take(self, lease: int, want: float) -> bool:
        return True

    def token(self, text: bytes, audience: bytes, issuer: bytes, leeway_ns: int) -> Token:
        return Token(True)


def evaluations(bench: Bench, kit: Kit) -> None:
    bench.step("interpreted")
    request = payload(kit.schema)(data=bytes(64), tag="t")
    for name, config in {**SIMPLE, **OTHERS}.items():
        program = Interpreter(read(POLICIES / f"{name}.py"), config, Nobody())
        bench.report.add(f"policy {name}", "interpreted", "an evaluation", "ns/call",
                         [_time(program, request, bench.scale.calls) for _ in range(bench.scale.repeats)])


def _time(program: Interpreter, request: Any, calls: int) -> float:
    """Of on_request, and on_end where the program has one."""
    ends = "end" in program.declared.hooks
    began = time.perf_counter_ns()
    for _ in range(calls):
        program.run("request", CALL, request)
        if ends:
            program.run("end", CALL)
    return (time.perf_counter_ns() - began) / calls


def payload(schema: bytes) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(schema).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))
