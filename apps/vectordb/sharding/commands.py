"""`python -m apps.vectordb route | cluster | move`."""
from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrpc import insecure_channel

from ..database import Quota
from ..server import own_name
from . import wire
from .router import is_mesh_name
from .server import RouterServer

ROUTE = """
A router offers the service; its shards hold the points. All of them are apps of one user, the router one that may act for any tenant, the
shards named after it: APP-SHARD0, APP-SHARD1, ... (mrpc app register).

examples, with a daemon at work (mrpcd):
  mrpc app register vectordb --uid $USER --act-as '*' --quiet > router.token
  mrpc app register vectordb-a0 --uid $USER --quiet > a0.token; mrpc app register vectordb-b0 --uid $USER --quiet > b0.token
  MRPC_TOKEN=$(cat a0.token) python -m apps.vectordb serve --dir ./a0 --shard-of vectordb
  MRPC_TOKEN=$(cat b0.token) python -m apps.vectordb serve --dir ./b0 --shard-of vectordb
  MRPC_TOKEN=$(cat router.token) python -m apps.vectordb route --dir ./router --app vectordb --shards a,b
  python -m apps.vectordb move acme --to b
"""
CLUSTER = """
examples:
  python -m apps.vectordb cluster --dir ./cluster                            two shards of two replicas each, with a daemon of their own
  python -m apps.vectordb cluster --dir ./cluster --shards 3 --replicas 1
  python -m apps.vectordb cluster --dir ./cluster -o json | head -1 | jq     where it is and who serves, for programs
"""
MOVE_TIMEOUT_S = 3600.0
WATCH_S = 1.0


def add_commands(commands: Any) -> None:
    route = _command(commands, "route", "serve points of several shards until SIGTERM or Ctrl-C", ROUTE, run_route)
    route.add_argument("--dir", type=Path, required=True, help="what the router must not forget; made when it is not there")
    route.add_argument("--app", default="vectordb", help="the router's name on the mesh, with which those of its shards begin (default: %(default)s)")
    route.add_argument("--shards", type=_names, required=True, metavar="A,B,...", help="names of shards")
    route.add_argument("--replicas", type=_count, default=1, metavar="N", help="processes that hold the same, of each shard (default: 1)")
    route.add_argument("--admin", action="append", metavar="TENANT", help=f"as of serve (default: {own_name()}); repeatable")
    route.add_argument("--newcomers", action="store_true", help="as of serve")
    cluster = _command(commands, "cluster", "run a daemon, shards and their router, to try it", CLUSTER, run_cluster)
    cluster.add_argument("--dir", type=Path, required=True, help="where all of it lies")
    cluster.add_argument("--shards", type=_count, default=2, metavar="N")
    cluster.add_argument("--replicas", type=_count, default=2, metavar="N", help="of each shard (default: %(default)s)")
    cluster.add_argument("-o", "--output", choices=("table", "json"), default="table", help="what is printed whenever something changes")
    move = _command(commands, "move", "take a tenant's points to another shard", "", run_move)
    move.add_argument("tenant")
    move.add_argument("--to", required=True, metavar="SHARD")
    move.add_argument("--collection", default="", help="only of this one (default: all)")


def _command(commands: Any, name: str, help: str, epilog: str, run: Callable[..., None]) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.set_defaults(run=run)
    return command


def _names(text: str) -> list[str]:
    names = text.split(",")
    if len(set(names)) != len(names) or not all(each.isalpha() and is_mesh_name(each) for each in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of different names of letters a-z")
    return names


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 16")
    return int(text)


def apps_of(app: str, shards: list[str], replicas: int) -> dict[str, list[str]]:
    """Names of replicas on the mesh, by shard."""
    return {shard: [f"{app}-{shard}{number}" for number in range(replicas)] for shard in shards}


def run_route(options: argparse.Namespace, stop: threading.Event) -> None:
    """Errors as RouterServer's."""
    shards = apps_of(options.app, options.shards, options.replicas)
    with RouterServer(options.dir, shards, options.admin or (own_name(),), Quota() if options.newcomers else None):
        print(f"ready vectordb over {len(shards)} shards", flush=True)
        stop.wait()


def run_move(options: argparse.Namespace, stop: threading.Event) -> None:
    """RpcError."""
    pb = wire.load().pb
    with insecure_channel("mrpc:///vectordb.shard.Router") as channel:
        request = pb.MoveRequest(tenant=options.tenant, collection=options.collection, shard=options.to)
        moved = wire.load().pb_grpc.RouterStub(channel).Move(request, timeout=MOVE_TIMEOUT_S)
    print(f"moved {moved.points} points of {options.tenant} to {options.to}")


def run_cluster(options: argparse.Namespace, stop: threading.Event) -> None:
    """StartError when a process does not come up."""
    from .cluster import LocalCluster, rows, show  # rich takes a while

    with LocalCluster(options.dir, options.shards, options.replicas) as cluster:
        shown: Any = None
        while not stop.is_set():
            cluster.revive()
            found = rows(cluster.status())
            if (states := [(row["replica"], row["state"], row["tenants"]) for row in found]) != shown:
                shown, where = states, os.environ["MRPC_RUNTIME_DIR"]
                if options.output == "json":
                    print(json.dumps({"runtime_dir": where, "replicas": found}), flush=True)
                else:
                    show(where, found)
            stop.wait(WATCH_S)
