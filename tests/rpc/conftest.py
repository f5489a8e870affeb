"""A module generated from echo.proto, and servers of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mrpc
import pytest
from mrpc.protoc import main as protoc

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with echo_mrpc.py, on sys.path."""
    out = tmp_path_factory.mktemp("generated")
    assert protoc(["-I", str(HERE), "--out", str(out), "echo.proto"]) == 0
    sys.path[:0] = [str(out), str(HERE)]
    yield out
    sys.path.remove(str(out))
    sys.path.remove(str(HERE))


@pytest.fixture(scope="session")
def echo(generated: Path) -> Any:
    """The module echo_mrpc."""
    import echo_mrpc

    return echo_mrpc


@pytest.fixture(scope="module")
def servicer(echo: Any) -> Any:
    from echo_servicer import EchoServicer

    return EchoServicer()


@pytest.fixture(scope="module")
def server(daemon: Any, echo: Any, servicer: Any) -> Iterator[Any]:
    """A running server of `servicer`."""
    server = mrpc.server(ThreadPoolExecutor(8))
    echo.add_EchoServicer_to_server(servicer, server)
    server.start()
    yield server
    assert server.stop(None).wait(30)


@pytest.fixture
def channel(server: Any) -> Iterator[Any]:
    with mrpc.channel("mrpc:///echo.Echo") as channel:
        yield channel


@pytest.fixture
def stub(channel: Any, echo: Any) -> Any:
    return echo.EchoStub(channel)
