"""A service with a database in memory, on a private mesh or over gRPC, and clients that act for tenants of it.

On the mesh this process is the app "gateway", which operators let act for any tenant. "admin" administers the service.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from mrpc import testing

from apps.vectordb import transport
from apps.vectordb.client import Client, models
from apps.vectordb.database import Database
from apps.vectordb.server import Options, Service

DIM = 4
OPTIONS = Options(admins=("admin",))


def mrpc_cli(mesh: testing.Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(mesh.runtime_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def mesh() -> Iterator[testing.Mesh]:
    """A private daemon; this process is its app "gateway"."""
    with testing.mesh() as running, pytest.MonkeyPatch.context() as patch:
        done = mrpc_cli(running, "app", "register", "gateway", "--uid", str(os.getuid()), "--act-as", "*", "--quiet")
        assert done.returncode == 0, done.stderr
        patch.setenv("MRPC_TOKEN", done.stdout.strip())
        yield running


class Running:
    """A service, and what a test needs to use it."""

    def __init__(self, service: Service, database: Database, system: str, stack: ExitStack) -> None:
        self.service, self.database, self.system, self._stack = service, database, system, stack

    def client(self, tenant: str = "") -> Client:
        """One that acts for the tenant."""
        url = None if self.system == "mrpc" else f"127.0.0.1:{self.service.port}"
        return self._stack.enter_context(Client(url, tenant=tenant, system=self.system))


@contextmanager
def serving(system: str = "mrpc", options: Options = OPTIONS, database: Database | None = None) -> Iterator[Running]:
    """A service, until the block ends. Over mRPC the fixture mesh is needed."""
    with ExitStack() as stack:
        kept = database or stack.enter_context(Database.open(None, background=False))
        service = stack.enter_context(Service(kept, transport.load(system), "127.0.0.1:0", options))
        yield Running(service, kept, system, stack)


@pytest.fixture(scope="module", params=transport.SYSTEMS)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A service over each of the two systems."""
    if request.param == "mrpc":
        request.getfixturevalue("mesh")
    with serving(request.param) as one:
        yield one


@pytest.fixture
def papers(running: Running) -> Iterator[Callable[[str], Client]]:
    """A collection of DIM dimensions and no points, with the tenants admin, acme and globex: clients by tenant."""
    admin = running.client("admin")
    admin.create_collection("papers", models.VectorParams(DIM, models.Distance.COSINE))
    for tenant in ("acme", "globex"):
        admin.create_tenant("papers", tenant)
    yield running.client
    admin.delete_collection("papers")
