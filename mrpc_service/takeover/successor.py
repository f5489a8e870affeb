"""The new daemon's side of a hot restart: steps 1, 3 and 5 of the protocol."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrpc_service import __version__
from mrpc_service.dataplane_api import Dataplane
from mrpc_service.runtime_dir import RuntimeDir
from mrpc_service.takeover.channel import Channel, PeerGone, TakeoverError, unpack, unpack_schemas

ANSWER_MAX_S = 30.0
STATE_MAX_S = 15.0  # the predecessor gives up before


@dataclass
class Inherited:
    """What the control plane gets from its predecessor."""

    lock_fd: int
    control: socket.socket
    metrics: socket.socket | None = None
    listening: str = ""
    joined: dict[str, Any] = field(default_factory=dict)  # of the registry of daemons: node -> [address, peer id]
    frozen_ns: int = 0  # CLOCK_MONOTONIC, when the predecessor stood still


class Successor:
    """A connection to the predecessor. Used in the order of its methods."""

    def __init__(self, runtime: RuntimeDir, versions: tuple[int, int]) -> None:
        """Connect and be welcomed; `versions`: of the state, oldest and newest. TakeoverError."""
        self._channel = _connect(runtime)
        self._channel.send("hello", versions=list(versions), release=__version__, pid=os.getpid())
        packet = self._channel.expect("welcome", ANSWER_MAX_S)
        welcome = packet.body
        self._schemas = unpack_schemas(packet.fds[0])
        self.settings: dict[str, Any] = welcome["settings"]
        self.config = [Path(path) for path in welcome["config"]]
        self.generation = int(welcome["generation"]) + 1
        self.predecessor_pid = self._channel.peer_pid
        self.inherited: Inherited | None = None

    def receive(self) -> tuple[bytes, list[int], Inherited]:
        """Say that all is prepared; get the state. TakeoverError. From here until `take` or this process's end, every call waits."""
        self._channel.send("ready")
        state = self._channel.expect("state", STATE_MAX_S)
        state_fd, lock_fd, control_fd, *metrics_fd = state.fds
        fds: list[int] = []
        while len(fds) < state.body["count"]:
            fds += self._channel.expect("fds", STATE_MAX_S).fds
        metrics = socket.socket(fileno=metrics_fd[0]) if metrics_fd else None
        inherited = Inherited(
            lock_fd, socket.socket(fileno=control_fd), metrics, state.body["listening"], state.body["joined"], state.body["frozen_ns"]
        )  # fmt: skip
        return unpack(state_fd), fds, inherited

    def schemas(self) -> list[dict[str, Any]]:
        """Of the services on offer, as `Dataplane.schemas`: what policies must be compiled for."""
        return self._schemas

    def take(self) -> None:
        """The hand-over. When this returns, everything is this process's; TakeoverError: it is the predecessor's, and this one must end."""
        try:
            self._channel.send("taken")
        except PeerGone:
            if not self._channel.peer_is_dead():
                raise TakeoverError(f"the predecessor (pid {self.predecessor_pid}) has waited too long and serves on") from None
        self._channel.close()

    def take_over(self, dataplane: Dataplane) -> Inherited:
        """Steps 3 to 5, for a data plane that was not started. TakeoverError."""
        saved, fds, inherited = self.receive()
        try:
            dataplane.take_over(saved, fds)
        except (ValueError, RuntimeError) as error:
            self.refuse(str(error))
            raise TakeoverError(f"cannot go on from the predecessor's state ({error}); pid {self.predecessor_pid} serves on") from None
        self.take()
        self.inherited = inherited
        return inherited

    def refuse(self, text: str) -> None:
        """Let the predecessor go on at once, and know why."""
        with contextlib.suppress(PeerGone):
            self._channel.send("refused", text=text)
        self._channel.close()


def _connect(runtime: RuntimeDir) -> Channel:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        sock.connect(str(runtime.takeover_socket))
    except PermissionError:
        raise TakeoverError(f"no permission to take over from the mrpcd at {runtime.path}; run as its user, or as root") from None
    except OSError:
        hint = "start without --takeover, or check --runtime-dir"
        raise TakeoverError(f"no mrpcd that can be taken over from runs at {runtime.path}; {hint}") from None
    return Channel(sock)
