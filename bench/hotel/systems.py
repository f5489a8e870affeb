"""What is compared: the same application over three systems, each in the styles that its stubs and servers know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from apps.hotel.run import HotelApp

MESH = "grpc+envoy"
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "mrpc": {"rpc": "mrpc"},
    "grpc": {"rpc": "grpc"},
    MESH: {"rpc": "grpc", "envoy": True},
}
# The HTTP server is the same uvicorn process in every style; "mixed" has asyncio stubs in it and blocking services behind it.
STYLES: Mapping[str, Mapping[str, bool]] = {
    "sync": {"aio": False, "frontend_aio": False},
    "aio": {"aio": True, "frontend_aio": True},
    "mixed": {"aio": False, "frontend_aio": True},
}


def variant(system: str, style: str) -> str:
    """As rows name it."""
    return f"{system}, {style}"


@contextmanager
def running(styles: Sequence[str], policies: Path, failed: Callable[[str, str], None]) -> Iterator[dict[str, HotelApp]]:
    """Every system in each of the styles, by variant, until the block ends. Of one that does not start `failed` is told why."""
    with ExitStack() as stack:
        apps = {}
        for style in styles:
            for system, options in SYSTEMS.items():
                name = variant(system, style)
                try:
                    apps[name] = stack.enter_context(HotelApp(**options, **STYLES[style], policies=policies))
                except Exception as error:  # whatever a peer lacks here, the others are measured
                    failed(name, f"did not start: {error}")
        yield apps
