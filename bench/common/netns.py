"""Two hosts on one machine: network namespaces joined by a veth pair, removed at the end whatever happens. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    netns: str
    address: str


def _ip(*words: str, netns: str | None = None) -> None:
    inside = ["-n", netns] if netns else []
    subprocess.run(["ip", *inside, *words], check=True, capture_output=True, text=True)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Yields two hosts that reach each other over TCP. Raises OSError or CalledProcessError without the right to make them."""
    tag = f"mb{os.getpid() % 100000}"
    hosts = (Host(f"{tag}a", "10.231.77.1"), Host(f"{tag}b", "10.231.77.2"))
    with ExitStack() as stack:
        for host in hosts:
            _ip("netns", "add", host.netns)
            stack.callback(_ip, "netns", "del", host.netns)  # takes its end of the pair, and so the pair, with it
        _ip("link", "add", f"{tag}va", "netns", hosts[0].netns, "type", "veth", "peer", "name", f"{tag}vb", "netns", hosts[1].netns)
        for host, link in zip(hosts, (f"{tag}va", f"{tag}vb"), strict=True):
            _ip("addr", "add", f"{host.address}/24", "dev", link, netns=host.netns)
            _ip("link", "set", link, "up", netns=host.netns)
            _ip("link", "set", "lo", "up", netns=host.netns)
        yield hosts
