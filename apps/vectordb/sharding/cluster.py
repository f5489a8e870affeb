"""A sharded database on this host, with a daemon of its own: for trying it out, and for tests."""
from __future__ import annotations

import time
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from mrpc import RpcError, insecure_channel
from rich.console import Console
from rich.table import Table

from apps.processes import Child, StartError

from ..mesh import BACKEND, START_TIMEOUT_S, Mesh
from ..server import own_name
from ..transport import load
from . import wire
from .commands import apps_of

ROUTER = "vectordb"
STATUS_TIMEOUT_S = 5.0
STYLES = {"serving": "green", "copying": "yellow", "stale": "red", "away": "red"}


class LocalCluster(Mesh):
    """`with LocalCluster(data, shards, replicas) as cluster:` runs mrpcd, the shards and their router. Meanwhile this process is the app
    "backend", which may act for every tenant and administers the service, as does its user. data: where databases and the router's ledger
    lie. StartError."""

    def __init__(self, data: Path, shards: int, replicas: int) -> None:
        super().__init__()
        self.data, self._replicas = data.absolute(), replicas
        self.apps = apps_of(ROUTER, list(ascii_lowercase[:shards]), replicas)
        self.tokens: dict[str, str] = {}
        self.running: dict[str, Child] = {}

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.start_daemon()
        self.tokens = {app: self.register(app) for apps in self.apps.values() for app in apps}
        for child in [self.start_app(app) for app in self.tokens]:
            child.wait_for_line("ready", START_TIMEOUT_S)
        self.tokens[ROUTER] = self.register(ROUTER, "--act-as", "*")
        self._set_environment(MRPC_TOKEN=self.register(BACKEND, "--act-as", "*"))
        self.start_app(ROUTER).wait_for_line("ready", START_TIMEOUT_S)
        self.wait_until_serving()

    def start_app(self, app: str) -> Child:
        """Starts the router or a replica, or starts it again."""
        words = ["serve", "--shard-of", ROUTER]
        if app == ROUTER:
            words = ["route", "--shards", ",".join(self.apps), "--replicas", str(self._replicas), "--admin", BACKEND, "--admin", own_name()]
        self.running[app] = self._child(app, "-m", "apps.vectordb", *words, "--dir", str(self.data / app), token=self.tokens[app])
        return self.running[app]

    def revive(self) -> None:
        """Starts again what has ended."""
        for app, child in list(self.running.items()):
            if child.has_ended:
                self.start_app(app)

    def status(self) -> Any:
        """A ClusterStatus; an empty one while the router cannot be asked."""
        with insecure_channel("mrpc:///vectordb.shard.Router") as channel:
            try:
                return wire.load().pb_grpc.RouterStub(channel).Status(load("mrpc").pb.Empty(), timeout=STATUS_TIMEOUT_S)
            except RpcError:
                return wire.load().pb.ClusterStatus()

    def wait_until_serving(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until every replica serves. StartError."""
        until = time.monotonic() + timeout_s
        while {each["state"] for each in rows(self.status())} != {"serving"}:
            if time.monotonic() > until:
                raise StartError(f"not all replicas serve: {rows(self.status())}; the end of the router's log:\n{self.running[ROUTER].log_tail()}")
            time.sleep(0.02)


def rows(status: Any) -> list[dict[str, Any]]:
    """A row for each replica."""
    return [{"shard": shard.shard, "tenants": shard.tenants, "replica": each.app, "state": each.state, "open_calls": each.open_calls,
             "reads": each.reads} for shard in status.shards for each in shard.replicas]


def show(runtime_dir: str, found: list[dict[str, Any]]) -> None:
    """Prints them as a table."""
    table = Table(title=f"MRPC_RUNTIME_DIR={runtime_dir}", title_justify="left")
    for heading in ("shard", "tenants", "replica", "state", "reads"):
        table.add_column(heading, justify="right" if heading in ("tenants", "reads") else "left")
    for row in found:
        style = STYLES[row["state"]]
        table.add_row(row["shard"], str(row["tenants"]), row["replica"], f"[{style}]{row['state']}[/]", str(row["reads"]))
    Console().print(table)
