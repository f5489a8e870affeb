"""The running daemon's side of a hot restart: steps 2, 4 and 6 of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mrpc_service import __version__, systemd
from mrpc_service.runtime_dir import RuntimeDir, bind_private
from mrpc_service.takeover.channel import FDS_OF_PACKET, Channel, TakeoverError, pack, pack_schemas

if TYPE_CHECKING:
    from mrpc_service.control_plane import ControlPlane

log = logging.getLogger("mrpcd")
HELLO_MAX_S = 5.0
PREPARE_MAX_S = 120.0  # policies are compiled meanwhile
FREEZE_MAX_S = 2.0     # for work under way to come to rest
FROZEN_MAX_S = 5.0     # for the successor to say `taken`


@dataclass
class Held:
    """What a daemon has besides its data plane that a successor gets."""

    lock_fd: int
    control: socket.socket
    metrics: socket.socket | None = None
    joined: Callable[[], dict[str, Any]] = dict  # as Joiner.joined


class Predecessor:
    """Serves takeover.sock, for one successor at a time."""

    def __init__(self, plane: ControlPlane, held: Held, versions: tuple[int, int], generation: int) -> None:
        self._plane, self._held, self._versions, self.generation = plane, held, versions, generation
        self._listener = bind(plane.runtime)
        self._busy: int | None = None  # pid of the successor under way
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def close(self) -> None:
        self._task.cancel()
        self._listener.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        under_way: set[asyncio.Task[None]] = set()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setblocking(True)
            task = loop.create_task(self._attend(sock))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    async def _attend(self, sock: socket.socket) -> None:
        try:
            channel = Channel(sock)
        except TakeoverError as error:
            return log.warning("take-over refused: %s", error)
        try:
            hello = await asyncio.to_thread(channel.expect, "hello", HELLO_MAX_S)
            if self._busy is not None:
                raise TakeoverError(f"another take-over (pid {self._busy}) is under way; wait for it")
            self._busy = channel.peer_pid
            try:
                await self._hand_over(channel, hello.body)
            finally:
                self._busy = None
        except (TakeoverError, KeyError, TypeError, ValueError) as error:
            log.warning("take-over by pid %d did not come about, this mrpcd serves on: %s", channel.peer_pid, error)
            _tell(channel, str(error))
        finally:
            channel.close()

    async def _hand_over(self, channel: Channel, hello: dict[str, Any]) -> None:
        version = choose(self._versions, hello["versions"], str(hello.get("release")))
        log.info("mrpcd %s (pid %d) is about to take over", hello.get("release"), channel.peer_pid)
        schemas = pack_schemas(await asyncio.to_thread(self._plane.dataplane.schemas))
        async with self._plane.chains.unchanged():  # between what the successor reads of the chains and what it gets
            channel.send(
                "welcome", [schemas], version=version, release=__version__, settings=dataclasses.asdict(self._plane.settings),
                config=[str(path) for path in self._plane.config], generation=self.generation,
            )  # fmt: skip
            os.close(schemas)
            await asyncio.to_thread(channel.expect, "ready", PREPARE_MAX_S)
            self._give_away(channel, version)

    def _give_away(self, channel: Channel, version: int) -> None:
        """Steps 4 to 6, on the main thread: the control plane stands still, too. Returns by TakeoverError, or not at all."""
        begun_ns = time.monotonic_ns()
        dataplane = self._plane.dataplane
        try:
            dataplane.freeze(FREEZE_MAX_S)
        except (RuntimeError, ValueError) as error:
            raise TakeoverError(str(error)) from None
        try:
            self._plane.take_events()  # the store knows of every offer before the successor reads it
            state, fds = dataplane.frozen(version)
            self._send(channel, state, fds, begun_ns)
            channel.expect("taken", FROZEN_MAX_S)
        except (TakeoverError, RuntimeError, ValueError, OSError) as error:
            last = channel.last_word()
            if last is None or last.kind != "taken":
                dataplane.thaw()
                pause_ms = (time.monotonic_ns() - begun_ns) / 1e6
                raise TakeoverError(f"{error} (applications waited for {pause_ms:.0f} ms)") from None
        self._end(channel)

    def _send(self, channel: Channel, state: bytes, fds: list[int], begun_ns: int) -> None:
        held = self._held
        own = [held.lock_fd, held.control.fileno(), *([held.metrics.fileno()] if held.metrics else [])]
        packed = pack("mrpc-takeover-state", state)
        channel.send(
            "state", [packed, *own], count=len(fds), listening=self._plane.listening, joined=held.joined(), frozen_ns=begun_ns
        )
        os.close(packed)
        for first in range(0, len(fds), FDS_OF_PACKET):
            channel.send("fds", fds[first : first + FDS_OF_PACKET])

    def _end(self, channel: Channel) -> None:
        """Leave. Nothing of an orderly stop may run: sockets, lock and lease are the successor's now."""
        systemd.notify(f"MAINPID={channel.peer_pid}")
        log.info("pid %d has taken over", channel.peer_pid)
        self._plane.registry.close()
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def choose(mine: tuple[int, int], theirs: list[int], release: str) -> int:
    """The newest version of the state that both know. TakeoverError."""
    newest = min(mine[1], theirs[1])
    if newest < max(mine[0], theirs[0]):
        raise TakeoverError(
            f"mrpcd {release} reads state of versions {theirs[0]} to {theirs[1]}, the one that runs writes {mine[0]} to {mine[1]}; "
            "go by a release between the two, or restart cold"
        )
    return newest


def bind(runtime: RuntimeDir) -> socket.socket:
    """The listener. Only for the holder of the lock: whatever stands there is a predecessor's."""
    runtime.takeover_socket.unlink(missing_ok=True)
    listener = bind_private(runtime.takeover_socket, socket.SOCK_SEQPACKET)
    listener.listen(4)
    listener.setblocking(False)
    return listener


def _tell(channel: Channel, text: str) -> None:
    with contextlib.suppress(TakeoverError):
        channel.send("refused", text=text)
