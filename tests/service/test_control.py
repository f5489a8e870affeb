"""The operators' API: who may use it, what it is made of, and health and reflection for other tools."""

from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest

from mrpc_service.control import regenerate
from mrpc_service.control.client import ControlError, NoDaemon
from mrpc_service.control.names import snake_case
from mrpc_service.control.server import SERVICE
from mrpc_service.control.servicer import ControlServicer

from .conftest import TIMEOUT_S, Mrpcd, needs_root


def test_generated_messages_are_those_of_the_schema() -> None:
    for name, text in regenerate.generate().items():
        assert (regenerate.HERE / name).read_text() == text, "run python -m mrpc_service.control.regenerate"


def test_every_method_of_the_schema_is_served() -> None:
    assert [method.name for method in SERVICE.methods if not hasattr(ControlServicer, snake_case(method.name))] == []


def test_health_and_reflection_answer_generic_tools(mrpcd: Mrpcd) -> None:
    async def ask() -> tuple[int, list[str]]:
        async with Channel(path=str(mrpcd.runtime.control_socket)) as channel:
            health = await HealthStub(channel).Check(HealthCheckRequest())
            (reply,) = await ServerReflectionStub(channel).ServerReflectionInfo([ServerReflectionRequest(list_services="")])
            return health.status, [service.name for service in reply.list_services_response.service]

    status, services = asyncio.run(ask())
    assert status == HealthCheckResponse.SERVING
    assert "mrpc.control.Control" in services


@needs_root
@pytest.mark.parametrize("opened", [False, True])
def test_another_user_is_refused_by_the_directory_and_without_it_too(
    start_mrpcd: Callable[..., Mrpcd], public_dir: Path, opened: bool
) -> None:
    mrpcd = start_mrpcd(parent=public_dir)
    if opened:  # as if somebody had changed the modes
        for path in (mrpcd.runtime.operator_dir, mrpcd.runtime.control_socket):
            path.chmod(0o777)
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mrpc_service.control.client import ControlClient, ControlError\n"
        "from mrpc_service.runtime_dir import RuntimeDir\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345)\n"
        "with ControlClient(RuntimeDir(Path(sys.argv[1]))) as client:\n"
        "    for method in ('GetStatus', 'RegisterApp'):\n"
        "        try: client.call(method)\n"
        "        except ControlError as error: print(error.code.name, error)\n"
    )
    command = [sys.executable, "-c", program, str(mrpcd.runtime.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    reason = "uid 12345 is no operator of this mrpcd" if opened else "is closed to this user"
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(line.startswith("PERMISSION_DENIED") and reason in line for line in lines), lines


def test_requests_that_cannot_be_met_have_their_code(mrpcd: Mrpcd) -> None:
    with mrpcd.client() as client:
        client.call("RegisterApp", name="front", uid=1001)
        for code, method, request in (
            (Status.ALREADY_EXISTS, "RegisterApp", {"name": "front", "uid": 1001}),
            (Status.INVALID_ARGUMENT, "RegisterApp", {"name": "No Name", "uid": 1001}),
            (Status.NOT_FOUND, "RemoveApp", {"name": "absent"}),
            (Status.NOT_FOUND, "ReleaseService", {"service": "absent.Service"}),
            (Status.NOT_FOUND, "GetSchema", {"service": "absent.Service"}),
            (Status.INVALID_ARGUMENT, "SetLogLevel", {"level": "loud"}),
        ):
            with pytest.raises(ControlError) as caught:
                client.call(method, **request)
            assert caught.value.code == code, method


def test_a_full_disk_refuses_what_must_be_written_down_and_nothing_else(mrpcd: Mrpcd) -> None:
    _, most = resource.prlimit(mrpcd.process.pid, resource.RLIMIT_FSIZE)
    with mrpcd.client() as client:
        resource.prlimit(mrpcd.process.pid, resource.RLIMIT_FSIZE, (0, most))
        with pytest.raises(ControlError, match="make room in the state directory") as caught:
            client.call("RegisterApp", name="front", uid=1001)
        assert caught.value.code == Status.RESOURCE_EXHAUSTED
        assert not client.call("ListApps").apps
        resource.prlimit(mrpcd.process.pid, resource.RLIMIT_FSIZE, (most, most))
        client.call("RegisterApp", name="front", uid=1001)


def test_no_daemon_says_what_to_do(mrpcd: Mrpcd) -> None:
    mrpcd.stop()
    with mrpcd.client() as client, pytest.raises(NoDaemon, match="start it with 'mrpcd', then 'mrpc check'"):
        client.call("GetStatus")


def test_the_end_of_the_daemon_ends_a_reader_of_its_log(mrpcd: Mrpcd) -> None:
    with mrpcd.client() as client:
        lines = client.stream("ReadLogs", follow=True)
        assert next(lines).text
        mrpcd.stop()
        with pytest.raises(ControlError):
            for _ in lines:
                pass


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64])
def test_garbage_costs_its_own_connection_only(mrpcd: Mrpcd, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as hostile:
        hostile.connect(str(mrpcd.runtime.control_socket))
        hostile.sendall(garbage)
        hostile.shutdown(socket.SHUT_WR)
        while hostile.recv(4096):
            pass
    with mrpcd.client() as client:
        assert client.call("GetStatus").state == "ready"
