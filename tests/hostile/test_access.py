"""What another user may not reach: the daemon's memory, the operators' socket, a name that somebody holds."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import mrpc
import pytest

from . import raw_app
from .conftest import ATTACKER_UID, OTHER_UID, ROOT, needs_root
from .raw_app import SERVER, RawApp

pytestmark = [needs_root, pytest.mark.usefixtures("unharmed")]
Attack = Callable[..., Any]


def refused(*attempts: Callable[[], Any]) -> list[bool]:
    """Which of the attempts raised OSError (PermissionError among them) or ValueError."""

    def fails(attempt: Callable[[], Any]) -> bool:
        try:
            attempt()
        except (OSError, ValueError):
            return True
        return False

    return [fails(attempt) for attempt in attempts]


def test_memory_that_the_daemon_writes_cannot_be_had_for_writing(daemon: Any, attack: Attack) -> None:
    def work(link: Any) -> list[bool]:
        app = RawApp(daemon.runtime_dir).attach()
        answers = []
        for fd in (app.daemon_rings_fd, app.receive_fd):
            answers += refused(
                lambda fd=fd: os.write(fd, b"x"),
                lambda fd=fd: os.open(f"/proc/self/fd/{fd}", os.O_RDWR),
                lambda fd=fd: os.open(f"/proc/self/fd/{fd}", os.O_WRONLY),
                lambda fd=fd: mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE),
                lambda fd=fd: os.fchmod(fd, 0o777),
                lambda fd=fd: os.ftruncate(fd, 0),
                lambda fd=fd: os.posix_fallocate(fd, 0, 1 << 30),
            )
        return answers

    assert all(attack(work).result())


def test_memory_that_the_application_writes_keeps_its_size(daemon: Any, attack: Attack) -> None:
    """A region that shrinks would kill the daemon with SIGBUS."""

    def work(link: Any) -> list[bool]:
        app = RawApp(daemon.runtime_dir).attach()
        return [
            answer
            for fd in (app.app_rings_fd, app.send_fd)
            for answer in refused(
                lambda fd=fd: os.ftruncate(fd, 0),
                lambda fd=fd: os.ftruncate(fd, 1 << 40),
                lambda fd=fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
            )
        ]

    assert all(attack(work).result())


def test_the_daemons_descriptors_are_out_of_reach(daemon: Any, attack: Attack) -> None:
    assert all(attack(lambda link: refused(lambda: os.listdir(f"/proc/{daemon.pid}/fd"))).result())
    assert all(attack(lambda link: refused(lambda: os.open(f"/proc/{daemon.pid}/mem", os.O_RDONLY))).result())


def test_one_users_memory_is_not_anothers(daemon: Any, attack: Attack) -> None:
    """The descriptors of one attachment, opened through /proc by another user."""

    def hold(link: Any) -> None:
        app = RawApp(daemon.runtime_dir).attach()
        link.send((os.getpid(), [app.app_rings_fd, app.send_fd, app.receive_fd]))
        link.recv()

    victim = attack(hold, uid=OTHER_UID)
    pid, fds = victim.hear()
    paths = [f"/proc/{pid}/fd/{fd}" for fd in fds]
    assert all(attack(lambda link: refused(*(lambda p=p: os.open(p, os.O_RDONLY) for p in paths)), uid=ATTACKER_UID).result())
    victim.link.send("enough")


def test_the_operators_socket_is_for_operators(daemon: Any, attack: Attack) -> None:
    def connect(link: Any) -> list[bool]:
        with socket.socket(socket.AF_UNIX) as control:
            found = [path for path in daemon.runtime_dir.rglob("*") if path.name == "control.sock"]
            return [not found, *refused(lambda: control.connect(str(daemon.runtime_dir / "operator" / "control.sock")))]

    assert attack(connect).result() == [True, True]
    as_another = ["setpriv", f"--reuid={ATTACKER_UID}", f"--regid={ATTACKER_UID}", "--clear-groups", *daemon.cli_command("status")]
    done = subprocess.run(as_another, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (3, 4) and not done.stdout


def test_files_of_the_daemon_cannot_be_replaced(daemon: Any, attack: Attack) -> None:
    def work(link: Any) -> list[bool]:
        directory = daemon.runtime_dir
        return refused(
            lambda: (directory / "app.sock").unlink(),
            lambda: (directory / "app.sock").rename(directory / "mine.sock"),
            lambda: (directory / "new").touch(),
            lambda: (directory / "daemon.pid").write_text("1"),
            lambda: list((directory / "state").iterdir()),
        )

    assert all(attack(work).result())


def test_a_service_name_belongs_to_whom_offered_it_first(daemon: Any, start_neighbour: Any) -> None:
    """The neighbour serves echo.Echo: another user's server of it does not come up."""
    squatter = start_neighbour(daemon, "serve", uid=ATTACKER_UID)
    assert squatter.said.startswith("PERMISSION_DENIED:") and "mrpc service release" in squatter.said


def test_a_squatting_raw_server_is_refused_and_gets_no_calls(daemon: Any, attack: Attack, schema: bytes, neighbour: Any) -> None:
    def work(link: Any) -> tuple[str, int]:
        app = RawApp(daemon.runtime_dir).attach(SERVER)
        schema_id = app.register(schema)
        try:
            app.offer(schema_id)
            refusal = ""
        except RuntimeError as error:
            refusal = str(error)
        link.send("offered")
        link.recv()
        return refusal, len(app.take())

    attacker = attack(work)
    assert attacker.hear() == "offered"
    assert neighbour.call() == "ok"
    attacker.link.send("enough")
    refusal, calls = attacker.result()
    assert "belongs to uid:" in refusal and calls == 0


def test_reserved_metadata_of_an_application_does_not_pass(daemon: Any, attack: Attack, schema: bytes) -> None:
    """Who it is, the daemon says: an application's own `mrpc-` metadata is dropped, whatever it is."""
    name = "mine.Echo"
    described = schema.replace(b"echo", b"mine")
    pair = b"mrpc-app" + b"forged"
    metadata = raw_app.PAIR.pack(8, 6) + pair + bytes(-len(pair) % 8)

    def work(link: Any) -> bytes:
        server = RawApp(daemon.runtime_dir).attach(SERVER)
        server.offer(server.register(described), name)
        client = RawApp(daemon.runtime_dir).attach()
        handle = client.bind(client.register(described), name)
        length = client.put(0, raw_app.block(raw_app.echo_image(b"x"), metadata=metadata))
        client.push(raw_app.Slot(raw_app.OPEN, 3, handle=handle, call_id=1, length=length, region=raw_app.SEND_REGION))
        call = server.completion()
        return server.receive_heap[call.offset : call.offset + call.length]

    received = attack(work).result()
    assert b"forged" not in received


def test_a_forged_tenant_ends_its_call_before_a_server_hears_of_it(daemon: Any, attack: Attack, schema: bytes) -> None:
    name = "mine.Echo"
    described = schema.replace(b"echo", b"mine")
    pair = b"mrpc-tenant" + b"forged"
    metadata = raw_app.PAIR.pack(11, 6) + pair + bytes(-len(pair) % 8)

    def work(link: Any) -> tuple[int, int, int]:
        server = RawApp(daemon.runtime_dir).attach(SERVER)
        server.offer(server.register(described), name)
        client = RawApp(daemon.runtime_dir).attach()
        handle = client.bind(client.register(described), name)
        forged = client.put(0, raw_app.block(raw_app.echo_image(b"x"), metadata=metadata))
        client.push(raw_app.Slot(raw_app.OPEN, 3, handle=handle, call_id=1, length=forged, region=raw_app.SEND_REGION))
        refused = client.completion()
        honest = client.put(4096, raw_app.block(raw_app.echo_image(b"x")))
        client.push(raw_app.Slot(raw_app.OPEN, 3, handle=handle, call_id=2, offset=4096, length=honest, region=raw_app.SEND_REGION))
        heard = server.completion()
        return refused.call_id, refused.code, server.receive_heap[heard.offset : heard.offset + heard.length].count(b"forged")

    assert attack(work).result() == (1, mrpc.StatusCode.PERMISSION_DENIED.value[0], 0)
