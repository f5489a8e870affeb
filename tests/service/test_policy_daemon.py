"""Applied chains and the life of the daemon: deaths, damaged stores, other users, other tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from .conftest import TIMEOUT_S, Mrpcd, daemon_command, needs_root, run_daemon
from .test_applications import DENY, GREET, greeter
from .test_policy_apply import CHAIN, names, write

Start = Callable[..., Mrpcd]
CONTROL = "mrpc.control.Control"


# ---- deaths


class Dying(Mrpcd):
    """Dies at a step of the second apply."""

    step = ""

    def command(self, directory: Path, *flags: str) -> list[str]:
        return [sys.executable, "-m", "tests.service.dying_mrpcd", self.step, *daemon_command(directory, *flags)[3:]]


@pytest.mark.parametrize(("step", "after"), [("intent", ["guard"]), ("switched", ["guard"]), ("committed", ["guard", "watch"])])
def test_a_daemon_that_is_killed_in_an_apply_starts_with_what_was_committed(
    start_mrpcd: Start, tmp_path: Path, step: str, after: list[str]
) -> None:
    dying = start_mrpcd(kind=type("At", (Dying,), {"step": step}))
    dying.cli_json("policy", "apply", str(write(tmp_path / "a.yaml", DENY)))
    done = dying.cli("policy", "apply", str(write(tmp_path / "b.yaml", CHAIN)))
    assert done.returncode != 0 and dying.process.wait(TIMEOUT_S) == -9
    again = start_mrpcd()
    assert names(again) == after
    assert ("abandoned" in [each["state"] for each in again.cli_json("policy", "history")]) == (step != "committed")
    with greeter(again):
        assert "PERMISSION_DENIED" in again.cli("call", GREET, '{"name": "mallory"}').stderr


# ---- a damaged store


def damage(path: Path) -> bytes:
    """Overwrite pages behind the header; returns what is there now."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    return bytes(content)


def test_a_damaged_store_stops_the_start_and_is_kept(start_mrpcd: Start, tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", CHAIN)
    first = start_mrpcd("--config", str(config))
    first.cli_json("policy", "apply", str(write(tmp_path / "a.yaml", DENY)))
    assert first.stop() == 0
    path = first.runtime.path / "state" / "mrpcd.db"
    damaged = damage(path)
    for _ in range(2):
        done = run_daemon(first.runtime.path, "--config", str(config))
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("mrpcd: ")]
        assert "is damaged" in line and "a copy is kept as" in line and "--reset-store" in line
        assert path.read_bytes() == damaged
    (kept,) = path.parent.glob("mrpcd.db.damaged-????????????")
    assert kept.read_bytes() == damaged
    again = start_mrpcd("--config", str(config), "--reset-store")
    assert names(again) == ["watch"]
    assert kept.read_bytes() == damaged


def test_reset_store_leaves_a_sound_store_alone(start_mrpcd: Start, tmp_path: Path) -> None:
    first = start_mrpcd()
    first.cli_json("policy", "apply", str(write(tmp_path / "a.yaml", DENY)))
    first.stop()
    assert names(start_mrpcd("--reset-store")) == ["guard"]


def test_config_only_starts_without_applied_chains_which_a_rollback_brings_back(start_mrpcd: Start, tmp_path: Path) -> None:
    first = start_mrpcd()
    revision = first.cli_json("policy", "apply", str(write(tmp_path / "a.yaml", DENY)))["revision"]
    first.stop()
    again = start_mrpcd("--config-only")
    assert names(again) == []
    again.cli_json("policy", "rollback", str(revision))
    assert names(again) == ["guard"]


# ---- who may, and with what tools


@needs_root
def test_another_user_can_neither_change_nor_see_chains(start_mrpcd: Start, public_dir: Path) -> None:
    mrpcd = start_mrpcd(parent=public_dir)
    for path in (mrpcd.runtime.operator_dir, mrpcd.runtime.control_socket):
        path.chmod(0o777)  # as if somebody had changed the modes
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mrpc_service.control.client import METHODS, ControlClient, ControlError\n"
        "from mrpc_service.runtime_dir import RuntimeDir\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345)\n"
        "with ControlClient(RuntimeDir(Path(sys.argv[1]))) as client:\n"
        "    for method in METHODS:\n"
        "        try: print(list(client.stream(method)) if METHODS[method].server_streaming else client.call(method))\n"
        "        except ControlError as error: print(error.code.name)\n"
    )
    command = [sys.executable, "-c", program, str(mrpcd.runtime.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    said = done.stdout.split()
    assert len(said) > 15 and set(said) == {"PERMISSION_DENIED"}, done.stderr
    assert mrpcd.cli_json("policy", "history")[0]["cause"] == "start"


class Reflected:
    """A client that knows nothing of the API but what reflection tells, over grpcio."""

    def __init__(self, mrpcd: Mrpcd) -> None:
        self.channel = grpc.insecure_channel(f"unix:{mrpcd.runtime.control_socket}")
        self.pool = DescriptorPool()
        for file in self._files(CONTROL):
            self.pool.Add(file)

    def __enter__(self) -> Reflected:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def _files(self, symbol: str) -> list[FileDescriptorProto]:
        (reply,) = self.ask(ServerReflectionRequest(file_containing_symbol=symbol))
        return [FileDescriptorProto.FromString(each) for each in reply.file_descriptor_response.file_descriptor_proto]

    def ask(self, *requests: ServerReflectionRequest) -> list[ServerReflectionResponse]:
        method = self.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString, ServerReflectionResponse.FromString,
        )
        return list(method(iter(requests), timeout=TIMEOUT_S))

    def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        method = self.pool.FindServiceByName(CONTROL).methods_by_name[name]
        send, receive = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = self.channel.unary_unary(f"/{CONTROL}/{name}", send.SerializeToString, receive.FromString)
        return MessageToDict(call(ParseDict(request, send()), timeout=TIMEOUT_S), preserving_proto_field_name=True)


def test_generic_grpc_tools_find_the_api_and_apply_with_it(mrpcd: Mrpcd) -> None:
    with Reflected(mrpcd) as client:
        (listed,) = client.ask(ServerReflectionRequest(list_services=""))
        assert CONTROL in [service.name for service in listed.list_services_response.service]
        check = client.channel.unary_unary("/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)
        assert check(HealthCheckRequest(), timeout=TIMEOUT_S).status == HealthCheckResponse.SERVING
        revision = client.call("Show", {})["revision"]
        report = client.call("Apply", {"files": [{"name": "by hand", "text": DENY}], "revision": revision})
        assert report["changes"] == ["+guard"]
        with pytest.raises(grpc.RpcError) as caught:
            client.call("Apply", {"files": [{"name": "by hand", "text": CHAIN}], "revision": revision})
        assert caught.value.code() == grpc.StatusCode.ABORTED
        with pytest.raises(grpc.RpcError) as caught:
            client.call("Apply", {"files": [{"name": "by hand", "text": CHAIN}]})
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "revision" in caught.value.details()
    (record,) = [each for each in mrpcd.cli_json("policy", "history") if each["cause"] == "apply"]
    assert record["operator_uid"] == os.getuid()


@pytest.mark.parametrize(
    ("request_json", "reason"),
    [
        ({"cause": "sabotage", "revision": 1}, "is not one of apply, swap, delete"),
        ({"revision": 1, "deny_share_max": 7.0}, "is not from 0 to 1"),
        ({"revision": 1, "files": [{"name": "big", "text": "#" * (5 << 20)}]}, "larger than 4 MiB"),
        ({"revision": 1, "files": [{"name": "f", "text": DENY.replace("access_control", "../../etc/passwd")}]}, "was not sent along"),
        ({"revision": 1, "files": [{"name": "f", "text": DENY.replace("access_control", "..")}]}, "no policy '..'"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_hostile_requests_are_refused(mrpcd: Mrpcd, request_json: dict[str, Any], reason: str) -> None:
    with Reflected(mrpcd) as client, pytest.raises(grpc.RpcError) as caught:
        client.call("Apply", request_json)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and reason in caught.value.details()
    assert json.loads(mrpcd.cli("policy", "show", "-o", "json").stdout)["chains"] == []
