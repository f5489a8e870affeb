"""What another user's process may say on app.sock, and what comes of it."""

from __future__ import annotations

import os
import select
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from . import raw_app
from .conftest import ATTACKER_UID, OTHER_UID, needs_root
from .raw_app import HEADER, HELLO, MAGIC, RawApp, hello_body

pytestmark = [needs_root, pytest.mark.usefixtures("unharmed")]
Attack = Callable[..., Any]


def packet(body: bytes, kind: int = HELLO, magic: int = MAGIC, flags: int = 0, length: int | None = None) -> bytes:
    return HEADER.pack(magic, kind, flags, len(body) if length is None else length, 1) + body


BAD_FIRST_PACKETS = {
    "garbage": (os.urandom(200), "not an mRPC control packet"),
    "one byte": (b"x", "shorter than its header"),
    "no body": (packet(b""), "too short"),
    "truncated": (packet(hello_body()[:20]), "too short"),
    "wrong length": (packet(hello_body(), length=9), "wrong length"),
    "wrong magic": (packet(hello_body(), magic=0x11223344), "not an mRPC control packet"),
    "unknown flags": (packet(hello_body(), flags=0x8000), "unknown flags"),
    "fragment": (packet(hello_body(), flags=1), "hello"),
    "other byte order": (packet(struct.pack(">HHIQIIHHI", 1, 1, raw_app.ENDIAN_PROBE, 0, 1, 1, 0, 0, 0)), "byte order"),
    "level of tomorrow": (packet(hello_body(level_min=9, level_max=9)), "install matching versions"),
    "levels upside down": (packet(hello_body(level_min=2, level_max=1)), "install matching versions"),
    "label over its limit": (packet(hello_body(label=b"x" * 129)), "malformed hello"),
    "token over its limit": (packet(hello_body(token=b"x" * 257)), "malformed hello"),
    "label longer than the packet": (packet(hello_body(label_bytes=100)), "malformed hello"),
    "reserved set": (packet(hello_body(reserved=1)), "malformed hello"),
    "unknown role": (packet(hello_body(role=3)), "unknown role"),
    "something else first": (packet(b"\0" * 8, kind=raw_app.BIND), "say hello first"),
    "forged token": (packet(hello_body(token=b"guess")), "token is not known"),
}


@pytest.mark.parametrize("name", BAD_FIRST_PACKETS)
def test_a_bad_hello_is_refused_with_its_reason(daemon: Any, attack: Attack, name: str) -> None:
    content, reason = BAD_FIRST_PACKETS[name]

    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir)
        app.send_raw(content)
        return app.last_words()

    assert reason in attack(work).result()


def test_a_packet_over_the_limit_is_refused(daemon: Any, attack: Attack) -> None:
    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir)
        app.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        app.send_raw(packet(b"x" * 100_000))
        return app.last_words()

    assert "over its limit" in attack(work).result()


@pytest.mark.parametrize("count", [1, 200])
def test_descriptors_are_closed_and_refused(daemon: Any, attack: Attack, count: int) -> None:
    before = daemon.descriptors()

    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir)
        with tempfile.TemporaryFile() as file:
            app.send_raw(packet(hello_body()), [file.fileno()] * count)
        return app.last_words()

    reason = attack(work).result()
    assert "descriptors" in reason or "over its limit" in reason  # of 64 no more are taken
    assert daemon.descriptors() <= before


def test_descriptors_after_hello_end_the_attachment(daemon: Any, attack: Attack) -> None:
    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir).attach()
        app.send(raw_app.BIND, bytes(8), fds=[0])
        return app.last_words()

    assert "may not send descriptors" in attack(work).result()


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (HELLO, hello_body(), "hello said twice"),
        (raw_app.WELCOME, b"", "no application may send"),
        (999, b"", "no application may send"),
        (raw_app.OFFER, bytes(8) + b"x", "a client offers no services"),
        (raw_app.BIND, b"123", "too short"),
        (raw_app.WITHDRAW, b"", "malformed withdrawal"),
        (raw_app.REGISTER_SCHEMA, bytes(9 << 20), "over its limit"),
    ],
    ids=["a second hello", "welcome", "an unknown kind", "offer", "bind", "withdrawal", "schema"],
)
def test_what_an_attached_application_may_not_say(daemon: Any, attack: Attack, kind: int, body: bytes, reason: str) -> None:
    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir).attach()
        try:
            app.send(kind, body)
        except raw_app.Gone as gone:
            return str(gone)
        return app.last_words()

    assert reason in attack(work).result()


def test_what_may_be_wrong_in_good_faith_is_answered(daemon: Any, attack: Attack, schema: bytes) -> None:
    """A schema that is none, a service that it lacks: the attachment goes on."""

    def work(link: Any) -> list[str]:
        app = RawApp(daemon.runtime_dir).attach()
        answers = []
        for wrong in (lambda: app.register(b"\xff" * 100), lambda: app.bind(77), lambda: app.bind(app.register(schema), "no.Such")):
            with pytest.raises(RuntimeError) as raised:
                wrong()
            answers.append(str(raised.value))
        assert app.bind(app.register(schema)) > 0
        return answers

    unreadable, *no_service = attack(work).result()
    assert unreadable and all("has no service" in answer for answer in no_service)


def test_too_many_schemas_end_the_attachment(daemon: Any, attack: Attack, schema: bytes) -> None:
    """A field that nobody knows makes a schema as large as it likes; what one attachment may register is bounded."""
    padding = 4 << 20
    large = schema + b"\xfa\x7f" + bytes([0x80 | padding & 0x7F, 0x80 | padding >> 7 & 0x7F, 0x80 | padding >> 14 & 0x7F, padding >> 21])
    large += bytes(padding)

    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir).attach()
        try:
            for _ in range(20):
                app.ask(raw_app.REGISTER_SCHEMA, large, raw_app.SCHEMA_REGISTERED)
        except raw_app.Gone as gone:
            return str(gone)
        except RuntimeError as error:
            return str(error)
        return ""

    assert attack(work).result()
    assert daemon.rss_bytes() < 400 << 20


def test_bindings_without_end_do_not_eat_the_daemons_memory(daemon: Any, attack: Attack, schema: bytes) -> None:
    padding = 1 << 20
    large = schema + b"\xfa\x7f" + bytes([0x80 | padding & 0x7F, 0x80 | padding >> 7 & 0x7F, padding >> 14]) + bytes(padding)

    def work(link: Any) -> int:
        app = RawApp(daemon.runtime_dir).attach()
        try:
            schema_id = app.register(large)
        except RuntimeError:  # unknown fields are not taken at all
            schema_id = app.register(schema)
        for count in range(600):
            try:
                app.bind(schema_id)
            except raw_app.Gone:
                return count
        link.send("bound")
        link.recv()
        return 600

    before = daemon.rss_bytes()
    attacker = attack(work)
    said = attacker.hear()
    assert daemon.rss_bytes() - before < 100 << 20
    if said == "bound":
        attacker.link.send("enough")


@pytest.mark.parametrize("label", [b"\xff\xfe\x80", b"x\n2026-01-01 00:00:00,000 ERROR   mrpcd: forged", b"\x1b[2J\0"])
def test_a_label_that_is_no_text_forges_no_log_and_stops_no_operator(daemon: Any, attack: Attack, label: bytes) -> None:
    def work(link: Any) -> None:
        app = RawApp(daemon.runtime_dir)
        app.ask(HELLO, hello_body(label=label), raw_app.WELCOME)
        link.send("attached")
        link.recv()

    attacker = attack(work)
    assert attacker.hear() == "attached"
    assert any(each["uid"] == ATTACKER_UID and each["label"].isprintable() for each in daemon.ask("apps"))
    assert daemon.ask("status")["state"] == "ready"
    assert "\n2026-01-01" not in daemon.log() and "\x1b" not in daemon.log()
    attacker.link.send("enough")


def test_silent_connections_are_ended(daemon: Any, attack: Attack) -> None:
    """No hello within 5 s."""

    def work(link: Any) -> str:
        return RawApp(daemon.runtime_dir).last_words()

    assert "no hello in time" in attack(work).result()


def test_a_flood_of_silent_connections_keeps_nobody_else_out(daemon: Any, attack: Attack) -> None:
    def flood(link: Any) -> None:
        held = []
        for _ in range(1000):
            try:
                held.append(RawApp(daemon.runtime_dir))
            except (BlockingIOError, ConnectionError):
                continue
        link.send("flooding")
        link.recv()

    def other(link: Any) -> int:
        return RawApp(daemon.runtime_dir).attach().attachment_id

    flooder = attack(flood)
    assert flooder.hear() == "flooding"
    assert attack(other, uid=OTHER_UID).result() > 0
    flooder.link.send("enough")


def test_a_flood_of_attachments_keeps_nobody_else_out(daemon: Any, attack: Attack) -> None:
    """One user's attachments are bounded well before the daemon runs out of descriptors."""

    def flood(link: Any) -> int:
        held = []
        while len(held) < 5000:
            app = RawApp(daemon.runtime_dir)
            try:
                app.ask(HELLO, hello_body(), raw_app.WELCOME)
            except (raw_app.Gone, OSError):
                break
            held.append(app)
        link.send(len(held))
        link.recv()
        return len(held)

    flooder = attack(flood)
    attached = flooder.hear()

    def other(link: Any) -> int:
        return RawApp(daemon.runtime_dir).attach().attachment_id

    assert attack(other, uid=OTHER_UID).result() > 0
    assert daemon.ask("status")["attachments"] >= attached
    flooder.link.send("enough")


def test_a_stream_of_requests_that_reads_no_answers_is_cut_off(daemon: Any, attack: Attack, schema: bytes) -> None:
    def work(link: Any) -> int:
        app = RawApp(daemon.runtime_dir).attach()
        app.socket.setblocking(False)
        body, sent = packet(schema, kind=raw_app.REGISTER_SCHEMA), 0
        while sent < 200_000:
            try:
                app.socket.send(body)
                sent += 1
            except BlockingIOError:
                select.select([], [app.socket], [], 5)
            except (BrokenPipeError, ConnectionResetError):
                return sent
        return sent

    assert attack(work).result() < 200_000
