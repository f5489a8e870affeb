from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

from apps.hotel.run import HotelApp

SYSTEMS = ("grpc", "mrpc")


def _missing(system: str) -> str | None:
    """Why the system cannot run here, or None."""
    if system == "grpc":
        return None if importlib.util.find_spec("grpc") else "grpcio is not installed"
    for module in ("mrpc", "mrpc.protoc", "mrpc_service.daemon"):
        try:
            found = importlib.util.find_spec(module)
        except ImportError:
            found = None
        if found is None or found.origin is None:
            return f"{module} is not built"
    return None


@pytest.fixture(scope="session", params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> str:
    why = _missing(request.param)
    if why and os.environ.get("HOTEL_TESTS_NEED_ALL"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    return request.param


@pytest.fixture(scope="session")
def app(system: str) -> Iterator[HotelApp]:
    with HotelApp(system) as running:
        yield running
