"""Runs the vector database as a service: `python -m apps.vectordb serve --dir DIR`. --help has examples."""
from __future__ import annotations

import argparse
import logging
import math
import signal
import threading
from dataclasses import replace
from pathlib import Path

import mrpc

from apps.processes import StartError

from . import restoring, transport
from .database import Database, DatabaseError, Quota
from .server import Options, Service, own_name
from .sharding.commands import add_commands
from .sharding.shard import Shard

EXAMPLES = """
examples:
  python -m apps.vectordb serve --dir ./vectors                            on the mesh, as vectordb.Points, Collections, Tenants
  python -m apps.vectordb serve --dir ./vectors --newcomers --metrics 9470 any tenant of the mesh may begin to write
  MRPC_TOKEN=... python -m apps.vectordb serve --dir ./vectors --admin operator
  python -m apps.vectordb serve --dir ./vectors --transport grpc --listen 127.0.0.1:50051    for comparison only: see below

then:
  mrpc call vectordb.Collections/Create '{"collection": "papers", "dim": 4}'
  mrpc call vectordb.Points/Upsert '{"collection": "papers", "ids": [1], "values": [1, 0, 0, 0], "payloads": ["{\\"year\\": 2026}"]}'
  mrpc call vectordb.Points/Search '{"collection": "papers", "values": [1, 0, 0, 0], "k": 3, "withPayload": true}'
  mrpc call grpc.health.v1.Health/Check '{"service": "vectordb.Points"}'
  mrpc policy apply apps/vectordb/policies/default.yaml

Over gRPC nobody verifies for whom a call is made: the service believes the metadata key mrpc-tenant.
"""


def main() -> None:
    options = parse_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s vectordb %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        options.run(options, stop)
    except DatabaseError as error:
        raise SystemExit(f"vectordb: {error}") from None
    except StartError as error:
        raise SystemExit(f"vectordb: {error}") from None
    except mrpc.RpcError as error:  # no daemon, or one that refuses
        raise SystemExit(f"vectordb: {error.details()}") from None


def serve(options: argparse.Namespace, stop: threading.Event) -> None:
    """Serves until stop is set. DatabaseError when the directory cannot be opened."""
    newcomers = Quota.checked({"vectors": options.newcomer_vectors}) if options.newcomers else None
    settings = Options(options.admin or (own_name(),), newcomers, threads=options.threads, weights=dict(options.weight),
                       batch_threads=options.batch_threads)
    with Database.open(options.dir, fsync=options.fsync) as database, made(options, database, settings) as service:
        if options.metrics is not None:
            print(f"metrics http://127.0.0.1:{service.serve_metrics(options.metrics)}/metrics")
        print(f"ready vectordb over {options.transport}" + (f" at port {service.port}" if options.transport == "grpc" else ""), flush=True)
        stop.wait()


def made(options: argparse.Namespace, database: Database, settings: Options) -> Service:
    if options.shard_of:
        return Shard(database, options.dir, options.shard_of, replace(settings, admins=(options.shard_of,), newcomers=None))
    return Service(database, transport.load(options.transport), options.listen, settings)


def weight(text: str) -> tuple[str, float]:
    """(tenant, share) of TENANT=SHARE. ValueError."""
    tenant, _, share = text.rpartition("=")
    if not tenant or not 0 < float(share) < math.inf:
        raise ValueError(text)
    return tenant, float(share)


def count(text: str) -> int:
    """A number from 1 on. ValueError."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m apps.vectordb", description="A multi-tenant vector database on the mesh.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("serve", help="serve a database until SIGTERM or Ctrl-C", epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--dir", type=Path, required=True, help="the database; made when it is not there")
    command.add_argument("--transport", choices=transport.SYSTEMS, default="mrpc")
    command.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="over gRPC; port 0 takes a free one")
    command.add_argument("--admin", action="append", metavar="TENANT",
                         help=f"may change collections, tenants and roles (default: {own_name()}); repeatable")
    command.add_argument("--newcomers", action="store_true", help="a tenant that writes to a collection for the first time is made there")
    command.add_argument("--newcomer-vectors", type=int, metavar="N", help="how many points such a tenant may own (default: no limit)")
    command.add_argument("--fsync", choices=("group", "always", "interval", "off"), default="group",
                         help="when a write is acknowledged (default: group, once it is on the disk)")
    command.add_argument("--metrics", type=int, metavar="PORT", help="Prometheus metrics on 127.0.0.1; 0 takes a free port")
    command.add_argument("--weight", type=weight, action="append", default=[], metavar="TENANT=SHARE",
                         help="what the tenant gets of the processors while others wait, beside their 1; repeatable")
    command.add_argument("--threads", type=int, default=Options.threads, help="calls that run, wait or are held at once (default: %(default)s)")
    command.add_argument("--batch-threads", type=count, default=Options.batch_threads, metavar="N",
                         help="on how many a batch of searches runs while no other call does (default: %(default)s, the processors)")
    command.add_argument("--shard-of", metavar="APP", help="serve this router alone, as one of its shards: see route --help")
    command.set_defaults(run=serve)
    add_commands(commands)
    restoring.add_commands(commands)
    return parser.parse_args()


if __name__ == "__main__":
    main()
