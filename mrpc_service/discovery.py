"""How daemons find each other: each one that listens leases its name in a directory, and dials all others it sees there.

A lease ends by itself LEASE_S after its node was last heard of; it is renewed every third of that. When the directory
cannot be reached, the peers that were known stay (fail static): losing Redis must not take a working mesh down.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from mrpc_service.dataplane_api import Dataplane
from mrpc_service.errors import StartupError

log = logging.getLogger("mrpcd.discovery")
LEASE_S = 6.0
REDIS_TIMEOUT_S = 2.0


class DirectoryError(Exception):
    """The directory cannot be reached or used now."""


class NodeDirectory(Protocol):
    """Leases of node names. Methods block, and raise DirectoryError."""

    def publish(self, node: str, address: str, lease_s: float) -> str | None:
        """Take or renew the lease; None, or the address of another daemon that holds this name."""

    def withdraw(self, node: str) -> None: ...

    def nodes(self) -> dict[str, str]:
        """Live nodes and their addresses."""


def open_directory(url: str) -> NodeDirectory:
    """The directory at redis://, rediss:// or sqlite:///PATH. StartupError for another URL, or a file that cannot be used."""
    scheme = urlsplit(url).scheme
    if scheme in ("redis", "rediss"):
        return RedisDirectory(url)
    if scheme == "sqlite" and url.startswith("sqlite:///"):
        return SqliteDirectory(Path(url.removeprefix("sqlite://")))
    raise StartupError(f"--registry {url}: use redis://HOST/DB or sqlite:///ABSOLUTE/PATH")


class SqliteDirectory:
    """For daemons of one host. Times are CLOCK_BOOTTIME, so that a change of the clock ends no lease; rows of an earlier
    boot are void."""

    def __init__(self, path: Path) -> None:
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        try:
            self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
            with path.with_name(path.name + ".lock").open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)  # two at once would be told "locked", whatever the timeout
                self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS nodes (node TEXT PRIMARY KEY, address TEXT NOT NULL, boot TEXT NOT NULL,"
                " expires_s REAL NOT NULL) STRICT"
            )
        except (OSError, sqlite3.Error) as error:
            raise StartupError(f"--registry: cannot use {path}: {error}; its directory must exist and be writable") from None

    def publish(self, node: str, address: str, lease_s: float) -> str | None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        row = self._ask(
            "INSERT INTO nodes VALUES (:node, :address, :boot, :now + :lease) ON CONFLICT (node) DO UPDATE"
            " SET address = excluded.address, boot = excluded.boot, expires_s = excluded.expires_s"
            " WHERE address = excluded.address OR boot != :boot OR expires_s < :now RETURNING node",
            {"node": node, "address": address, "boot": self._boot, "now": now, "lease": lease_s},
        )
        return None if row else self.nodes().get(node)

    def withdraw(self, node: str) -> None:
        self._ask("DELETE FROM nodes WHERE node = ?", (node,))

    def nodes(self) -> dict[str, str]:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return dict(self._ask("SELECT node, address FROM nodes WHERE boot = ? AND expires_s >= ?", (self._boot, now)))

    def _ask(self, sql: str, values: object) -> list[tuple[str, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise DirectoryError(str(error)) from None


class RedisDirectory:
    """Keys mrpc:node:NAME hold addresses and expire by Redis' clock; the set mrpc:nodes names those to look at."""

    PREFIX, NAMES = "mrpc:node:", "mrpc:nodes"

    def __init__(self, url: str) -> None:
        import redis

        self._error = redis.RedisError
        self._redis = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )

    def publish(self, node: str, address: str, lease_s: float) -> str | None:
        key, lease_ms = self.PREFIX + node, int(lease_s * 1000)
        try:
            if not self._redis.set(key, address, px=lease_ms, nx=True):
                holder = self._redis.get(key)
                if holder not in (None, address):
                    return holder
                self._redis.set(key, address, px=lease_ms)
            self._redis.sadd(self.NAMES, node)
        except self._error as error:
            raise DirectoryError(str(error)) from None
        return None

    def withdraw(self, node: str) -> None:
        try:
            self._redis.delete(self.PREFIX + node)
            self._redis.srem(self.NAMES, node)
        except self._error as error:
            raise DirectoryError(str(error)) from None

    def nodes(self) -> dict[str, str]:
        try:
            names = sorted(self._redis.smembers(self.NAMES))
            addresses = self._redis.mget([self.PREFIX + name for name in names]) if names else []
            found = dict(zip(names, addresses, strict=True))
            gone = [name for name, address in found.items() if address is None]
            if gone:
                self._redis.srem(self.NAMES, *gone)
        except self._error as error:
            raise DirectoryError(str(error)) from None
        return {name: address for name, address in found.items() if address is not None}


class Joiner:
    """Keeps this node's lease, and the data plane's peers as the directory names them."""

    def __init__(self, directory: NodeDirectory, dataplane: Dataplane, node: str, address: str, lease_s: float = LEASE_S) -> None:
        """`address` is where this node listens; "" if it does not, and then it only dials."""
        self._directory, self._dataplane = directory, dataplane
        self._node, self._address, self._lease_s = node, address, lease_s
        self._peers: dict[str, tuple[str, int | None]] = {}  # node -> address, peer id (None: not an address)
        self._holds_lease = False
        self._complaint = ""

    async def run(self) -> None:
        """Renew and watch until cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(self._lease_s / 3)

    async def turn(self) -> None:
        """One renewal and one look."""
        try:
            if self._address:
                await asyncio.to_thread(self._renew)
            seen = await asyncio.to_thread(self._directory.nodes)
        except DirectoryError as error:
            self._complain(f"the registry cannot be reached ({error}); known peers are kept")
            return
        if self._holds_lease or not self._address:
            self._complain("")
        self.follow(seen)

    def _renew(self) -> None:
        holder = self._directory.publish(self._node, self._address, self._lease_s)
        self._holds_lease = holder is None
        if holder is not None:
            self._complain(f"node name {self._node!r} is held by the daemon at {holder}; start this one with another --node")

    def joined(self) -> dict[str, Any]:
        """For a successor: node -> [address, peer id]."""
        return {node: list(peer) for node, peer in self._peers.items()}

    def inherit(self, joined: dict[str, Any]) -> None:
        """Go on with the peers of a predecessor, which the data plane has."""
        self._peers = {node: (address, peer_id) for node, (address, peer_id) in joined.items()}

    def follow(self, seen: dict[str, str]) -> None:
        """Make the data plane's peers those of `seen`, except this node."""
        wanted = {node: address for node, address in seen.items() if node != self._node and address != self._address}
        for node, (address, peer_id) in list(self._peers.items()):
            if wanted.get(node) != address:
                log.info("node %s at %s has left", node, address)
                if peer_id is not None:
                    self._dataplane.remove_peer(peer_id)
                del self._peers[node]
        for node, address in wanted.items():
            if node not in self._peers:
                self._dial(node, address)

    def _dial(self, node: str, address: str) -> None:
        peer_id = None
        try:
            peer_id = self._dataplane.add_peer(address)
            log.info("node %s is at %s", node, address)
        except (RuntimeError, ValueError) as error:  # what others wrote into the directory need not be an address
            log.warning("node %s is said to be at %r: %s", node, address, error)
        self._peers[node] = (address, peer_id)

    async def leave(self) -> None:
        """Give the lease back, so that others stop dialling at once."""
        if self._holds_lease:
            try:
                await asyncio.to_thread(self._directory.withdraw, self._node)
            except DirectoryError as error:
                log.warning("lease of node %s not withdrawn (%s); it ends in %g s", self._node, error, self._lease_s)

    def _complain(self, text: str) -> None:
        """Log a trouble once, and its end once."""
        if text and text != self._complaint:
            log.warning("%s", text)
        elif self._complaint and not text:
            log.info("the registry is in order again")
        self._complaint = text
