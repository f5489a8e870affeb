"""Hot restart: nothing fails, is lost, doubled or overtaken; whatever goes wrong leaves the predecessor serving."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mrpc
import pytest

from bench.upgrade import generated
from bench.upgrade.mesh import Mesh, faults, temporary_mesh
from mrpc_service import runtime_dir
from mrpc_service.takeover import predecessor
from mrpc_service.takeover.channel import Channel, PeerGone, TakeoverError

from .conftest import TIMEOUT_S, Mrpcd, daemon_command, needs_root, run_daemon
from .test_applications import GREET, greeter
from .test_daemon import one_line

Start = Callable[..., Mrpcd]
MIB = 1 << 20
HELD_S = 8 * TIMEOUT_S  # a call that is held lives through several take-overs: starts of Python on a machine that may be busy
LIMIT = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {name: guard}
spec:
  selector: {service: test.Greeter}
  policies:
    - {name: limit, use: rate_limit, config: {requests_per_second: 0.001, burst: 5}}
"""


def take_over(mrpcd: Mrpcd, *flags: str) -> None:
    """Replace the process behind `mrpcd`; the old one must have left in good order."""
    old = mrpcd.process
    mrpcd.__init__(mrpcd.runtime.path, "--takeover", *flags)  # type: ignore[misc]
    assert old.wait(TIMEOUT_S) == 0
    assert old.stdout is not None
    old.stdout.close()


@pytest.fixture(params=[False, True], ids=["one host", "two hosts"])
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    with temporary_mesh(request.param) as made:
        yield made


def test_ten_in_a_row_under_load_lose_nothing(mesh: Mesh) -> None:
    mesh.add_caller("small", threads=3, size=64)
    mesh.add_caller("medium", threads=2, size=40_000)
    mesh.add_caller("large", threads=1, size=8 * MIB)
    for count in range(10):
        mesh.daemons[count % len(mesh.daemons)].take_over()
        assert all(each["calls"] > 0 for each in mesh.mark()[:2])
    seen, server = mesh.finish()
    assert faults(seen, server) == []


def test_with_several_shards() -> None:
    with temporary_mesh(two_hosts=True, flags=("--shards", "3")) as mesh:
        mesh.add_caller("small", threads=3, size=64)
        mesh.add_caller("large", threads=1, size=2 * MIB)
        for daemon in mesh.daemons * 2:
            daemon.take_over()
            mesh.mark()
        assert faults(*mesh.finish()) == []


def test_a_call_that_is_being_served_is_answered_afterwards(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(mesh.calling))
    made = generated.load(str(mesh.folder))
    with mrpc.insecure_channel("mrpc:///upgrade.Sequence") as channel:
        mrpc.channel_ready_future(channel).result(TIMEOUT_S)
        stub = made.SequenceStub(channel)
        data = os.urandom(MIB)
        held = [stub.Hold.future(made.Step(caller=f"held/{i}", number=1, data=data), timeout=HELD_S) for i in range(3)]
        assert stub.Held(made.Step(number=3), timeout=TIMEOUT_S).number == 3
        for daemon in mesh.daemons * 2:
            daemon.take_over()
        assert stub.Release(made.Step(), timeout=TIMEOUT_S).number == 3
        assert all(bytes(call.result(TIMEOUT_S).data) == data for call in held)
    _, server = mesh.finish()
    assert (server["lost"], server["doubled"], server["held"]) == (0, 0, 3)


@pytest.mark.parametrize("scope", ["tenant", "method"])
def test_policies_know_the_calls_that_they_let_pass_before(scope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "limit.yaml"
    document.write_text(f"""\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {{name: guard}}
spec:
  selector: {{method: Hold}}
  policies:
    - {{name: few, use: concurrency_limit, config: {{calls_max: 3, per: {scope}}}}}
""")
    with temporary_mesh(two_hosts=False) as mesh:
        cli = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(mesh.calling)]
        subprocess.run([*cli, "policy", "apply", str(document)], check=True, capture_output=True, timeout=TIMEOUT_S)
        monkeypatch.setenv("MRPC_RUNTIME_DIR", str(mesh.calling))
        made = generated.load(str(mesh.folder))
        with mrpc.insecure_channel("mrpc:///upgrade.Sequence") as channel:
            stub = made.SequenceStub(channel)
            one_more = made.Step(caller="one more", number=1)
            held = [stub.Hold.future(made.Step(caller=f"held/{i}", number=1), timeout=HELD_S) for i in range(3)]
            for daemon in mesh.daemons * 2:
                with pytest.raises(mrpc.RpcError, match="3 calls are running already"):
                    stub.Hold(one_more, timeout=TIMEOUT_S)
                daemon.take_over()
            with pytest.raises(mrpc.RpcError, match="3 calls are running already"):
                stub.Hold(one_more, timeout=TIMEOUT_S)
            stub.Release(made.Step(), timeout=TIMEOUT_S)
            assert [call.result(TIMEOUT_S).number for call in held] == [1, 1, 1]
            assert stub.Hold(one_more, timeout=TIMEOUT_S).number == 1  # their places are free again
        mesh.finish()


def test_all_that_was_registered_and_set_goes_on(tmp_path: Path, start_mrpcd: Start) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(LIMIT)
    running = start_mrpcd("--config", str(config), "--node", "here", "--listen", "127.0.0.1:0", "--insecure", "--metrics", "127.0.0.1:0")
    with greeter(running):
        assert [running.cli("call", GREET, '{"name": "ann"}').returncode for _ in range(3)] == [0, 0, 0]
        before, policies = running.cli_json("status"), running.cli_json("policy", "show")
        take_over(running)
        after = running.cli_json("status")
        for name in ("node", "listen", "epoch", "config", "metrics", "attachments", "services"):
            assert after[name] == before[name], name
        assert (before["takeovers"], after["takeovers"]) == (0, 1) and after["takeover_pause_ns"] > 0
        assert "1, the last with a pause of" in running.cli("status").stdout
        assert running.cli_json("policy", "show") == policies
        assert after["pid"] == running.process.pid == runtime_dir.holder_pid(running.runtime)
        # Two of the five tokens are left.
        assert [running.cli("call", GREET, '{"name": "ann"}').returncode for _ in range(3)] == [0, 0, 1]
    assert running.stop() == 0
    assert not any(path.exists() for path in running.runtime.sockets)


def test_applications_come_and_go_after_it_as_before(mrpcd: Mrpcd) -> None:
    with greeter(mrpcd):
        take_over(mrpcd)
    assert mrpcd.wait_log("detached")  # its end was seen by the successor
    with greeter(mrpcd) as said:
        assert said == "serving"
        assert mrpcd.cli("call", GREET, '{"name": "ann"}').returncode == 0


STEPS = ["connect", "hello", "ready", "import", "hold"]
DIES = """
import os, signal, socket, sys
from mrpc_service import _dataplane, runtime_dir
from mrpc_service.takeover.successor import Successor, _connect

def die():
    os.kill(os.getpid(), signal.SIGKILL)

runtime, step = runtime_dir.locate(sys.argv[1]), sys.argv[2]
if step == "connect":
    channel = _connect(runtime)
    die()
successor = Successor(runtime, _dataplane.TAKEOVER_VERSIONS)
if step == "hold":
    print("welcome", flush=True)
    sys.stdin.read()
if step == "hello":
    die()
if step == "ready":
    successor._channel.send("ready")
    die()
saved, fds, inherited = successor.receive()
settings = successor.settings
plane = _dataplane.Dataplane(
    socket_path=str(runtime.app_socket), node=settings["node"], shards=settings["shards"], message_bytes_max=settings["message_bytes_max"],
    send_quota_bytes=settings["send_quota_bytes"], receive_quota_bytes=settings["receive_quota_bytes"])
plane.take_over(saved, fds)
die()
"""


def dying_successor(mrpcd: Mrpcd, step: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DIES, str(mrpcd.runtime.path), step]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_successor_that_is_killed_leaves_the_predecessor_serving(mrpcd: Mrpcd, step: str) -> None:
    with greeter(mrpcd):
        with dying_successor(mrpcd, step) as successor:
            assert successor.wait(TIMEOUT_S) == -signal.SIGKILL
        assert mrpcd.wait_log("this mrpcd serves on")
        assert mrpcd.cli("call", GREET, '{"name": "ann"}').returncode == 0
        assert mrpcd.process.poll() is None
        take_over(mrpcd)  # and a better one is welcome
        assert mrpcd.cli("call", GREET, '{"name": "ann"}').returncode == 0


def test_a_second_successor_is_refused(mrpcd: Mrpcd) -> None:
    with dying_successor(mrpcd, "hold") as first:
        assert first.stdout is not None and first.stdout.readline() == "welcome\n"
        line = one_line(run_daemon(mrpcd.runtime.path, "--takeover"))
        assert f"another take-over (pid {first.pid}) is under way" in line
        first.kill()
    assert mrpcd.cli_json("status")["pid"] == mrpcd.process.pid


def test_nobody_to_take_over_from_is_told(tmp_path: Path) -> None:
    line = one_line(run_daemon(tmp_path / "mrpc", "--takeover"))
    assert "no mrpcd that can be taken over from" in line and "start without --takeover" in line


@pytest.mark.parametrize("flags", [("--shards", "3"), ("--node", "other"), ("--listen", "127.0.0.1:0", "--insecure")])
def test_what_only_a_cold_restart_can_change_is_refused(mrpcd: Mrpcd, flags: tuple[str, ...]) -> None:
    line = one_line(run_daemon(mrpcd.runtime.path, "--takeover", *flags))
    assert f"--takeover keeps {flags[0]}" in line and "restart mrpcd without --takeover" in line
    assert mrpcd.cli_json("status")["pid"] == mrpcd.process.pid


def test_a_successor_whose_configuration_is_wrong_leaves_the_predecessor_serving(mrpcd: Mrpcd, tmp_path: Path) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(LIMIT.replace("burst", "brust"))
    assert "brust" in one_line(run_daemon(mrpcd.runtime.path, "--takeover", "--config", str(config)))
    assert mrpcd.cli_json("status")["pid"] == mrpcd.process.pid


def test_a_successor_of_another_version_is_refused_before_anything_stands_still(mrpcd: Mrpcd) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(mrpcd.runtime.takeover_socket))
        sock.send(json.dumps({"kind": "hello", "versions": [98, 99], "release": "9.9"}).encode())
        answer = json.loads(sock.recv(65536))
    assert answer["kind"] == "refused"
    assert "mrpcd 9.9 reads state of versions 98 to 99" in answer["text"] and "go by a release between" in answer["text"]
    assert mrpcd.cli_json("status")["pid"] == mrpcd.process.pid


@pytest.mark.parametrize("packet", [b"", b"{", b"[]", b'{"kind": 5}', b'{"kind": "hello"}', b'{"kind": "hello", "versions": 3}', b"\xff" * 70000])
def test_garbage_costs_its_own_connection(mrpcd: Mrpcd, packet: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect(str(mrpcd.runtime.takeover_socket))
        sock.send(packet)
        assert b"refused" in sock.recv(65536)
    take_over(mrpcd)


def test_systemd_learns_who_is_the_main_process_now(tmp_path: Path, start_mrpcd: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(TIMEOUT_S)
        running = start_mrpcd()
        manager.recv(4096)
        take_over(running)
        said = {manager.recv(4096).decode(), manager.recv(4096).decode()}
        pid = running.process.pid
        assert said == {f"MAINPID={pid}", f"READY=1\nMAINPID={pid}"}


def test_a_signal_starts_a_successor_with_the_same_flags(start_mrpcd: Start) -> None:
    running = start_mrpcd("--node", "here")
    with greeter(running):
        running.process.send_signal(signal.SIGUSR2)
        assert running.process.stdout is not None
        line = running.process.stdout.readline()  # the successor has it, too
        assert running.process.wait(TIMEOUT_S) == 0
        status = running.cli_json("status")
        assert line == f"mrpcd ready at {running.runtime.path} (pid {status['pid']})\n"
        assert status["node"] == "here" and status["pid"] != running.process.pid
        assert running.cli("call", GREET, '{"name": "ann"}').returncode == 0
    os.kill(status["pid"], signal.SIGTERM)
    assert running.process.stdout.read() == ""  # it has ended


# ---- the moment itself

@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield Channel(left), Channel(right)


def test_what_was_sent_before_the_end_was_shut_counts(ends: tuple[Channel, Channel]) -> None:
    mine, theirs = ends
    theirs.send("taken")
    last = mine.last_word()
    assert last is not None and last.kind == "taken"


def test_nothing_can_be_sent_after_the_end_was_shut(ends: tuple[Channel, Channel]) -> None:
    mine, theirs = ends
    assert mine.last_word() is None
    with pytest.raises(PeerGone):
        theirs.send("taken")


def test_a_live_predecessor_is_told_from_a_dead_one() -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("")  # an abstract name of the kernel's choice
    listener.listen()
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect('\\0' + sys.argv[1]); sys.stdin.read()"
    name = listener.getsockname()[1:].decode()
    with subprocess.Popen([sys.executable, "-c", program, name], stdin=subprocess.PIPE) as other:
        channel = Channel(listener.accept()[0])
        assert not channel.peer_is_dead()
        other.kill()
        other.wait(TIMEOUT_S)
    assert channel.peer_is_dead()
    channel.close()
    listener.close()


@needs_root
def test_strangers_are_refused(public_dir: Path) -> None:
    address = str(public_dir / "sock")
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); s.recv(1)"
    stranger = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", sys.executable, "-c", program, address]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        os.chmod(address, 0o666)
        listener.listen()
        with subprocess.Popen(stranger), pytest.raises(TakeoverError, match="uid 12345 is at the other end"):
            Channel(listener.accept()[0])


@pytest.mark.parametrize(
    ("mine", "theirs", "chosen"), [((2, 3), [2, 3], 3), ((2, 3), [3, 4], 3), ((3, 4), [2, 3], 3), ((2, 4), [1, 2], 2)]
)
def test_the_newest_version_that_both_know_is_chosen(mine: tuple[int, int], theirs: list[int], chosen: int) -> None:
    assert predecessor.choose(mine, theirs, "x") == chosen


@pytest.mark.parametrize(("mine", "theirs"), [((2, 2), [3, 4]), ((4, 5), [2, 3])])
def test_versions_that_do_not_meet_are_refused(mine: tuple[int, int], theirs: list[int]) -> None:
    with pytest.raises(TakeoverError, match="restart cold"):
        predecessor.choose(mine, theirs, "x")


def test_the_flag_is_explained() -> None:
    done = subprocess.run(daemon_command(Path("/"), "--help"), capture_output=True, text=True, timeout=TIMEOUT_S)
    assert "--takeover" in done.stdout


