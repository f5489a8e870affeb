"""systemd's notification protocol: one datagram to $NOTIFY_SOCKET. Without that variable, nothing happens."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send `state`, as READY=1; True if somebody was there to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode())
        except OSError:
            return False
    return True
