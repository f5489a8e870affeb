"""Slots, indexes and heaps written by a hostile application of another user, against a running daemon."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from . import raw_app
from .conftest import ATTACKER_UID, needs_root
from .raw_app import END, HAS_MESSAGE, HOLD, OPEN, RECLAIM, SEND_REGION, SERVER, STATUS, Gone, RawApp, Slot, echo_image

pytestmark = [needs_root, pytest.mark.usefixtures("unharmed")]
Attack = Callable[..., Any]
UNAVAILABLE, RESOURCE_EXHAUSTED, INVALID_ARGUMENT, UNIMPLEMENTED = 14, 8, 3, 12


@pytest.fixture
def client(daemon: Any, schema: bytes) -> Callable[[], tuple[RawApp, int]]:
    """For attackers: an attached client and the handle of Echo."""

    def attach() -> tuple[RawApp, int]:
        app = RawApp(daemon.runtime_dir).attach()
        return app, app.bind(app.register(schema))

    return attach


def test_a_raw_client_that_keeps_the_rules_is_served(client: Any, attack: Attack) -> None:
    def work(link: Any) -> tuple[int, int, bytes]:
        app, handle = client()
        app.push(app.opening(handle, 7, echo_image(b"by hand")))
        done = app.completion()
        return done.kind, done.code, app.receive_heap[done.offset : done.offset + done.length]

    kind, code, reply = attack(work).result()
    assert (kind, code) == (STATUS, 0) and reply.endswith(b"by hand")


def heap_end(app: RawApp) -> int:
    return len(app.send_heap)


BREACHES: dict[str, Callable[[RawApp, int, Slot], Slot]] = {
    "offset past the heap": lambda app, _, slot: Slot(**vars(slot) | {"offset": heap_end(app)}),
    "offset and length overflow": lambda app, _, slot: Slot(**vars(slot) | {"offset": 2**64 - 64, "length": 128}),
    "length past the heap": lambda app, _, slot: Slot(**vars(slot) | {"length": heap_end(app) + 1}),
    "length of everything": lambda app, _, slot: Slot(**vars(slot) | {"length": 2**64 - 1, "flags": slot.flags | HOLD}),
    "offset not aligned": lambda app, _, slot: Slot(**vars(slot) | {"offset": 8}),
    "wrong region": lambda app, _, slot: Slot(**vars(slot) | {"region": 77}),
    "handle of nobody": lambda app, _, slot: Slot(**vars(slot) | {"handle": slot.handle + 1_000_000}),
    "kind of nobody": lambda app, _, slot: Slot(**vars(slot) | {"kind": 200}),
    "a server's slot": lambda app, _, slot: Slot(**vars(slot) | {"kind": STATUS}),
    "reserved set": lambda app, _, slot: Slot(**vars(slot) | {"reserved2": 1}),
    "no message": lambda app, _, slot: Slot(**vars(slot) | {"flags": 0}),
    "reclaim of what is not out": lambda app, _, slot: Slot(RECLAIM, aux=1, region=raw_app.RECEIVE_REGION, offset=4096),
    "reclaim far away": lambda app, _, slot: Slot(RECLAIM, aux=2, region=raw_app.RECEIVE_REGION, offset=2**63, length=2**64 - 1),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_ends_the_one_attachment_with_a_reason(client: Any, attack: Attack, name: str) -> None:
    def work(link: Any) -> tuple[str, bool]:
        app, handle = client()
        app.push(BREACHES[name](app, handle, app.opening(handle, 1, echo_image(b"x"))))
        reason = app.ended()
        app.last_words()  # to the end of the connection, which comes last
        return reason, app.closed()

    reason, closed = attack(work).result()
    assert reason.startswith("the shared-memory protocol was broken: ") and closed


@pytest.mark.parametrize("jump", [-1, -100, 5000, 2**31, 2**32 - 1])
def test_a_submit_index_that_cannot_be(client: Any, attack: Attack, jump: int) -> None:
    def work(link: Any) -> str:
        app, handle = client()
        app.push(app.opening(handle, 1, echo_image(b"x")))
        app.completion()
        app.set_submit_tail(app.tail + jump)
        return app.ended()

    assert "indexes cannot be" in attack(work).result()


@pytest.mark.parametrize("ahead", [1, 32, 64, 65, 1000, 2**31])
def test_a_completion_index_that_cannot_be(client: Any, attack: Attack, ahead: int) -> None:
    """A full completion ring, then a consumer that says it has taken what was never there."""

    def work(link: Any) -> str:
        app, handle = client()
        submitted = 0
        while submitted < 2000:
            app.push(*(app.opening(handle, submitted + i, echo_image(b"x")) for i in range(50)))
            submitted += 50
            app.drained()
        app.set_complete_head(app.complete_tail() + ahead)
        for call in range(50):
            app.push(app.opening(handle, 100_000 + call, echo_image(b"x")))
        return app.ended()

    assert "indexes cannot be" in attack(work).result()


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", INVALID_ARGUMENT),
        (os.urandom(48), INVALID_ARGUMENT),
        (b"\xff" * 4096, INVALID_ARGUMENT),
        (echo_image(b"\xff\xfe not UTF-8"), INVALID_ARGUMENT),
        (echo_image(b"x" * 100)[:-50], INVALID_ARGUMENT),
    ],
    ids=["nothing", "noise", "ones", "text that is not UTF-8", "cut short"],
)
def test_an_image_that_is_none_ends_its_call_only(client: Any, attack: Attack, image: bytes, code: int) -> None:
    def work(link: Any) -> tuple[int, int]:
        app, handle = client()
        app.push(app.opening(handle, 1, image))
        bad = app.completion()
        app.push(app.opening(handle, 2, echo_image(b"x")))
        return bad.code, app.completion().code

    assert attack(work).result() == (code, 0)


def test_a_message_over_the_limit_ends_its_call_only(client: Any, attack: Attack) -> None:
    def work(link: Any) -> tuple[int, str, int]:
        app, handle = client()
        length = 65 << 20
        app.put(0, raw_app.BLOCK.pack(length - 64, length - 64, 0, 0, 0, 0))
        app.push(Slot(OPEN, END | HAS_MESSAGE | HOLD, handle=handle, call_id=1, length=length, region=SEND_REGION))
        over = app.completion()
        app.push(app.opening(handle, 2, echo_image(b"x")))
        return over.code, app.reply_text(over), app.completion().code

    code, text, after = attack(work).result()
    assert (code, after) == (RESOURCE_EXHAUSTED, 0) and "over the limit" in text


def test_an_unknown_service_and_method_are_told_at_once(daemon: Any, schema: bytes, attack: Attack) -> None:
    def work(link: Any) -> list[int]:
        app = RawApp(daemon.runtime_dir).attach()
        codes = []
        renamed = schema.replace(b"\x04Echo\x12\x11", b"\x04Ecko\x12\x11")  # a method that the server's schema lacks
        for described, service in ((schema.replace(b"echo", b"gone"), "gone.Echo"), (renamed, "echo.Echo")):
            handle = app.bind(app.register(described), service)
            for size in (1, 300_000):  # the second is more than a shard copies in one turn
                app.push(app.opening(handle, size, echo_image(b"x" * size), flags=END | HAS_MESSAGE | HOLD))
                codes.append(app.completion().code)
        return codes

    assert attack(work).result() == [UNAVAILABLE, UNAVAILABLE, UNIMPLEMENTED, UNIMPLEMENTED]


@pytest.mark.parametrize("held", [0, HOLD])
def test_completions_that_are_never_taken_bound_what_the_daemon_keeps(daemon: Any, client: Any, attack: Attack, held: int) -> None:
    """Refused calls and given-back blocks want an answer each; an application that takes none is ended, or waits."""

    def work(link: Any) -> int:
        app, handle = client()
        slot = app.opening(handle, 1, b"\xff" * 64, flags=END | HAS_MESSAGE | held).pack()
        submitted = 0
        try:
            while submitted < 400_000:
                for _ in range(200):  # as fast as the daemon takes them, and no waiting for ever
                    if app.room() >= 512:
                        break
                    app.await_change()
                else:
                    break
                app.push(*[slot] * 512)
                submitted += 512
        except Gone:
            pass
        link.send(submitted)
        link.recv()
        return submitted

    before = daemon.rss_bytes()
    attacker = attack(work)
    attacker.hear()
    assert daemon.rss_bytes() - before < 100 << 20
    attacker.link.send("enough")


def test_credit_without_end_bounds_what_the_daemon_keeps(daemon: Any, client: Any, attack: Attack) -> None:
    """Each kCredit of a client is a slot for its server, which may be slow to take them."""

    def work(link: Any) -> int:
        app, handle = client()
        app.push(app.opening(handle, 1, echo_image(command=b"wait")))
        credit = Slot(raw_app.CREDIT, call_id=1, aux=1).pack()
        submitted = 0
        while submitted < 100_000:
            if app.room() >= 512:
                app.push(*[credit] * 512)
                submitted += 512
            else:
                app.await_change()
        link.send(submitted)
        link.recv()
        return submitted

    before = daemon.rss_bytes()
    attacker = attack(work)
    attacker.hear()
    assert daemon.rss_bytes() - before < 100 << 20
    attacker.link.send("enough")


def test_receive_blocks_that_are_never_given_back_stop_only_their_application(
    start_host: Any, start_neighbour: Any, tmp_path: Any, schema: bytes, attack: Attack
) -> None:
    """It gets replies up to its quota, then none, until it gives a block back. Its memory goes when it dies."""
    config = tmp_path / "daemon.yaml"
    config.write_text("apiVersion: mrpc/v1alpha1\nkind: Daemon\nspec: {receive_quota_bytes: 134217728}\n")
    host = start_host("--config", str(config))
    neighbour = start_neighbour(host)
    assert neighbour.call(1) == "ok"
    payload = 1 << 20
    image = echo_image(payload=b"12345678")[:48]  # the payload stands in a segment instead
    image = image[:24] + raw_app.PAIR.pack(64, payload) + image[32:]

    def work(link: Any) -> None:
        app = RawApp(host.runtime_dir).attach()
        handle = app.bind(app.register(schema))
        length = app.put(0, raw_app.block(image, segments=[(payload, payload, SEND_REGION)], image_bytes=64 + payload))
        for call in range(160):
            app.push(Slot(OPEN, END | HAS_MESSAGE | HOLD, handle=handle, call_id=call, length=length, region=SEND_REGION))
        taken = [app.completion() for _ in range(100)]
        link.send([done.code for done in taken])
        link.recv()
        for _ in range(60):  # all come if the first are given back
            app.push(*(Slot(RECLAIM, aux=1, region=raw_app.RECEIVE_REGION, offset=done.offset) for done in taken))
            taken = [app.completion()]
        link.send(taken[0].code)
        link.recv()

    attacker = attack(work)
    assert attacker.hear() == [0] * 100
    assert neighbour.call() == "ok"
    attached = {each["uid"]: each for each in host.ask("apps")}
    assert attached[ATTACKER_UID]["receive_committed_bytes"] <= 129 << 20
    attacker.link.send("go on")
    assert attacker.hear() == 0
    attacker.kill()
    assert neighbour.call() == "ok"
    assert ATTACKER_UID not in {each["uid"] for each in host.ask("apps")}


def test_a_doorbell_that_is_drained_or_full_harms_its_owner_only(client: Any, attack: Attack) -> None:
    def work(link: Any) -> str:
        app, handle = client()
        os.set_blocking(app.doorbell, False)
        for call in range(50):
            app.push(app.opening(handle, call, echo_image(b"x")))
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(app.doorbell)
        os.eventfd_write(app.doorbell, 2**64 - 2)
        return "done"

    assert attack(work).result() == "done"


def test_a_wake_descriptor_that_is_full_and_blocks_does_not_stop_the_daemon(
    daemon: Any, client: Any, attack: Attack, neighbour: Any
) -> None:
    """Status flags are shared by all who have a descriptor: an application can make its own one block, and fill it."""

    def work(link: Any) -> None:
        app, handle = client()
        fill(app.wake_fd)
        fcntl.fcntl(app.wake_fd, fcntl.F_SETFL, 0)
        raw_app.WORD.pack_into(app.app_rings, 4, 1)  # poll_armed
        app.push(*(app.opening(handle, call, echo_image(b"x"), at=call * 4096) for call in range(8)))
        link.send("sent")
        link.recv()

    attacker = attack(work)
    assert attacker.hear() == "sent"
    assert neighbour.call(5) == "ok"
    attacker.kill()  # its end is told by the same descriptor
    assert neighbour.call(5) == "ok"
    assert len(daemon.ask("apps")) > 0


def fill(fd: int) -> None:
    """Until another byte or count would have to wait."""
    os.set_blocking(fd, False)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, (2**64 - 2).to_bytes(8, "little"))


def test_a_server_can_answer_only_its_own_calls(daemon: Any, schema: bytes, attack: Attack) -> None:
    """A rogue server guesses the daemon's names of its neighbour's calls."""

    def work(link: Any) -> str:
        app = RawApp(daemon.runtime_dir).attach(SERVER)
        app.offer(app.register(schema.replace(b"echo", b"evil")), "evil.Echo")
        for start in range(0, 4096, 512):
            guesses = (Slot(STATUS, code=13, call_id=generation << 32 | call) for call in range(start, start + 256) for generation in (0, 1))
            app.push(*guesses)
            app.drained()
        return "guessed"

    attacker = attack(work)
    assert attacker.result() == "guessed"


def random_slot(generator: random.Random, app: RawApp, handle: int) -> bytes:
    """Anything: noise, a legal call, or a legal call with one field gone wild."""
    style = generator.random()
    if style < 0.2:
        return generator.randbytes(64)
    at = generator.randrange(64) * 4096
    image = echo_image(generator.randbytes(generator.randrange(40)).hex().encode(), generator.randbytes(generator.randrange(2000)))
    if generator.random() < 0.3:
        noisy = bytearray(image)
        noisy[generator.randrange(len(noisy))] ^= 1 << generator.randrange(8)
        image = bytes(noisy)
    slot = app.opening(handle, generator.randrange(500), image, at=at)
    if style < 0.6:
        return slot.pack()
    field = generator.choice(list(vars(slot)))
    width = {"kind": 8, "flags": 8, "code": 8, "reserved0": 8, "handle": 32, "region": 32, "sequence": 32}.get(field, 64)
    wild = generator.choice([0, 1, 2, 64, 2**width - 1, 2 ** (width - 1), generator.getrandbits(width)])
    return Slot(**vars(slot) | {field: wild & (2**width - 1)}).pack()


@pytest.mark.parametrize("seed", range(4))
def test_random_slots_do_not_touch_a_neighbours_calls(client: Any, attack: Attack, neighbour: Any, seed: int) -> None:
    def work(link: Any) -> int:
        generator = random.Random(seed)
        sent = 0
        while sent < 5000:
            app, handle = client()  # a breach ends an attachment: take another one
            try:
                while sent < 5000:
                    app.push(random_slot(generator, app, handle))
                    sent += 1
                    app.drained()
                    app.take()
            except Gone:
                app.close()
        return sent

    neighbour.begin(200)
    attacker = attack(work)
    assert neighbour.outcome() == "ok"
    assert attacker.result() == 5000
