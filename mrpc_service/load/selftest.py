"""Is the generator quick enough to judge others? It is run flat out, and its own CPU time per call, which does not depend on the
server, gives the rate that one core of it could make. For HTTP and gRPC that is measured against a server that does next to
nothing; for mRPC against the target itself, since a null server on the mesh would be given other callers' calls."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from mrpc_service.load import native

QUICKER = 3.0  # how many times the fastest target's rate the generator must be able to make


@dataclass
class Speed:
    """`rate`: calls a second that came about; `per_core`: calls that one second of the generator's CPU time makes."""

    target: str
    rate: float
    per_core: float


def measure(target: str, arguments: list[str], seconds: float) -> Speed:
    """Closed loop, 32 in flight. Raises LoadError, also when calls fail."""
    counted = native.run([target, "--closed", "32", "--connections", "32", "--duration", str(seconds), "--warmup", "0.2", *arguments])
    if counted["errors"] or not counted["completed"]:
        raise native.LoadError(f"the self-test's calls of {target} failed: {counted['errors'] or 'none ended'}")
    completed = counted["completed"]
    return Speed(target, completed / counted["measured_ns"] * 1e9, completed / counted["generator_cpu_ns"] * 1e9)


def null_speeds(seconds: float) -> list[Speed]:
    """Of HTTP and gRPC against the null server over loopback TCP."""
    with native.null_server() as port:
        return [
            measure(f"http://127.0.0.1:{port}/", [], seconds),
            measure(f"grpc://127.0.0.1:{port}/null.Null/Call", ["--connections", "1"], seconds),
        ]


def verdict(own: Speed, target: Speed) -> tuple[float, bool]:
    """How many times the target's rate the generator could make, and whether that is enough."""
    ratio = own.per_core / target.rate
    return ratio, ratio >= QUICKER


def scheme(target: str) -> str:
    return urlsplit(target).scheme
