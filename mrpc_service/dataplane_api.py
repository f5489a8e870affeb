"""What the control plane asks of the data plane: the shape of the native class `mrpc_service._dataplane.Dataplane`.

The native module is the only implementation; this Protocol is its documentation and its type. All methods may be
called from any thread; those that block release the GIL. The dictionaries of `snapshot` have the fields of the
messages of the same name in `proto/mrpc/control/control.proto`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypedDict


class AppIdentity(TypedDict):
    """An attachment that shows a token of this SHA-256, from a process of this uid, *is* this app."""

    name: str
    uid: int
    token_sha256: bytes


class Applied(TypedDict):
    epoch: int
    pause_ns_max: int


class Dataplane(Protocol):
    def start(self) -> None:
        """Bind app.sock, in a directory that the caller has made and locked, and start the threads. RuntimeError."""

    def stop(self, grace_s: float) -> None:
        """Drain: refuse new calls, wait up to `grace_s` for open ones, end all attachments, join the threads."""

    def set_identities(self, apps: list[AppIdentity]) -> None:
        """Replace all bindings of names to principals."""

    def set_service_owners(self, owners: dict[str, str]) -> None:
        """Replace service -> principal ("uid:NNN"); other principals' offers get PERMISSION_DENIED."""

    def events_fd(self) -> int:
        """A descriptor that is readable while `drain_events` has something to return."""

    def drain_events(self) -> list[dict[str, Any]]:
        """Events since the last call. `kind`: attached, detached, offered, withdrawn, peer_up, peer_down, refused, log."""

    def apply_chains(self, chains: list[dict[str, Any]]) -> Applied:
        """Replace all chains, or change nothing and raise ValueError with the reason."""

    def listen(self, address: str) -> str:
        """Take connections of other daemons, in plaintext; returns the address bound. ValueError, RuntimeError."""

    def add_peer(self, address: str) -> int:
        """Dial another daemon, again and again; the id is for `remove_peer`. ValueError for an address that is none."""

    def remove_peer(self, peer_id: int) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def schema(self, service: str) -> bytes:
        """Serialised FileDescriptorSet of an offered service. KeyError."""
