"""The command line of `mrpc load`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from mrpc_service.control.client import ControlClient
from mrpc_service.load import native, requests, selftest
from mrpc_service.load.render import print_table, to_csv
from mrpc_service.load.result import LoadResult
from mrpc_service.runtime_dir import locate

NATIVE_OPTIONS = ("rate", "closed", "duration", "count", "warmup", "drain", "timeout", "connections", "threads", "max_in_flight", "seed", "late_us")


EXAMPLES = """\b
Examples:
  mrpc load mrpc:///hotel.Geo/Nearby --rate 500 --data '{"lat": 37.8, "lon": -122.4}'
  mrpc load http://127.0.0.1:8080/health --closed 8 --duration 30
"""


@click.command(short_help="Send load to a target and report latencies.", epilog=EXAMPLES, context_settings={"show_default": True})
@click.argument("target", required=False)
@click.option("--rate", type=float, help="Calls a second, whatever the replies do (open loop).")
@click.option("--closed", type=int, metavar="N", help="Closed loop instead: N calls in flight. Finds capacity, hides queueing.")
@click.option("--duration", type=float, default=10.0, help="Seconds to measure.")
@click.option("--count", type=int, help="Calls to measure, instead of a duration.")
@click.option("--warmup", type=float, default=1.0, help="Seconds of load before measuring.")
@click.option("--drain", type=float, default=10.0, help="Seconds to wait at the end for late sends and replies.")
@click.option("--timeout", type=float, default=20.0, help="Seconds for one call.")
@click.option("--connections", type=int, default=1, help="TCP connections of each thread. HTTP: one call at a time on each.")
@click.option("--threads", type=int, default=1, help="Generator threads.")
@click.option("--max-in-flight", type=int, default=1024, help="Calls open at once, of each thread; others queue, and it counts.")
@click.option("--seed", type=int, default=1, help="Of the order in which requests are drawn.")
@click.option("--late-us", type=int, default=1000, help="A send this many microseconds behind its schedule is counted as late.")
@click.option("--spin", is_flag=True, help="Busy-wait the last 50 us before each send: finer timing for CPU time.")
@click.option("--requests", "requests_file", metavar="FILE", help="HTTP: lines of METHOD PATH to draw from; - is standard input.")
@click.option("--data", metavar="JSON", help="gRPC, mRPC: request, or list of requests to draw from; @FILE or @- reads it. Needs the schema.")
@click.option("--data-hex", metavar="HEX", help="gRPC, mRPC: request as protobuf bytes in hexadecimal.")
@click.option("--data-file", type=click.Path(exists=True, dir_okay=False), help="gRPC, mRPC: request as a file of protobuf bytes.")
@click.option("--proto", multiple=True, metavar="FILE", help="Schema: .proto file; may be repeated. mRPC's default: the daemon's.")
@click.option("-I", "--include", multiple=True, metavar="DIR", help="Where .proto files and their imports stand.")
@click.option("--protoset", type=click.Path(exists=True, dir_okay=False), help="Schema: serialised FileDescriptorSet.")
@click.option("--metadata", multiple=True, metavar="KEY:VALUE", help="Header of each call; may be repeated.")
@click.option("--self-test", is_flag=True, help="Show that the generator is quick enough to judge; with TARGET, compare with it.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "csv"]), default="table", help="json has ghz's shape.")
@click.pass_context
def load_command(context: click.Context, target: str | None, self_test: bool, output: str, **options: Any) -> None:
    """Send load to TARGET at a constant rate and report latencies from the intended send times.

    TARGET is http://host:port/path, grpc://host:port/pkg.Service/Method or mrpc:///pkg.Service/Method. Exits with 1 when a
    call failed, was never sent, or never ended.
    """
    if target and target.startswith("mrpc:"):
        os.environ["MRPC_RUNTIME_DIR"] = str(locate(context.find_root().obj).path)  # where the generator finds the daemon
    try:
        with tempfile.TemporaryDirectory(prefix="mrpc-load-") as folder:
            files = prepare(target, options, Path(folder))
            if self_test:
                sys.exit(0 if run_self_test(target, files, output) else 1)
            result = run_load(target, options, files)
    except native.LoadError as error:
        refusal = click.ClickException(str(error))
        refusal.exit_code = error.exit_code
        raise refusal from error
    show(result, output)
    sys.exit(0 if result.succeeded else 1)


def prepare(target: str | None, options: dict[str, Any], folder: Path) -> list[str]:
    """Writes requests and schema to files. Returns the native program's arguments that name them, and metadata."""
    arguments = [word for pair in options["metadata"] for word in ("--metadata", pair)]
    if options["requests_file"]:
        path = Path(options["requests_file"])
        if options["requests_file"] == "-":
            path = folder / "requests"
            path.write_text(sys.stdin.read())
        arguments += ["--requests", str(path)]
    schema = _schema(target, options)
    if schema:
        (folder / "schema.pb").write_bytes(schema)
        if target and target.startswith("mrpc:"):
            arguments += ["--schema", str(folder / "schema.pb")]
    payloads = _payloads(target, options, schema)
    if payloads:
        requests.write_payloads(payloads, folder / "payloads")
        arguments += ["--payloads", str(folder / "payloads")]
    return arguments


def _schema(target: str | None, options: dict[str, Any]) -> bytes | None:
    """From files, or, of what the mesh offers, from the daemon."""
    if options["protoset"]:
        return Path(options["protoset"]).read_bytes()
    if options["proto"]:
        return requests.compile_protos(options["proto"], options["include"])
    if not target or not target.startswith("mrpc:"):
        return None
    with ControlClient(locate(None)) as client:
        service = target.partition("://")[2].strip("/").rpartition("/")[0]
        return client.call("GetSchema", service=service).file_descriptor_set


def _payloads(target: str | None, options: dict[str, Any], schema: bytes | None) -> list[bytes]:
    if options["data_file"]:
        return [Path(options["data_file"]).read_bytes()]
    if options["data_hex"]:
        return [requests.from_hex(options["data_hex"])]
    if not options["data"]:
        return []
    if schema is None or target is None:
        raise native.WrongUsage("--data needs TARGET and its schema: --proto FILE or --protoset FILE")
    method_path = target.partition("://")[2].partition("/")[2]
    return requests.encode_json(requests.read_text(options["data"]), requests.request_class(schema, method_path))


def run_load(target: str | None, options: dict[str, Any], files: list[str]) -> LoadResult:
    """One run with a progress bar on a terminal's standard error. Raises LoadError."""
    settings = {name: options[name] for name in NATIVE_OPTIONS if options[name] is not None}
    arguments = [target or "", *files, *(["--spin"] if options["spin"] else [])]
    for name, value in settings.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        counted = native.run(arguments, _progress_line(progress, options) if console.is_terminal else None)
    return LoadResult.from_native(counted, {"target": target, "spin": options["spin"], **settings})


def _progress_line(progress: Progress, options: dict[str, Any]) -> Callable[[dict[str, int]], None]:
    warmup = int((options["rate"] or 0) * options["warmup"])
    total = warmup + (options["count"] or int((options["rate"] or 0) * options["duration"])) or None
    task = progress.add_task("calls", total=total)
    return lambda line: progress.update(task, completed=line["completed"])


def show(result: LoadResult, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(result.to_json(), indent=2))
    elif output == "csv":
        click.echo(to_csv(result), nl=False)
    else:
        print_table(result, Console())


def run_self_test(target: str | None, files: list[str], output: str, seconds: float = 2.0) -> bool:
    """Prints the generator's speed, and with a target how it compares. False: not quick enough. Raises LoadError."""
    speeds = {selftest.scheme(each.target): each for each in selftest.null_speeds(seconds)}
    report: dict[str, Any] = {"null": {name: vars(speed) for name, speed in speeds.items()}}
    enough = True
    if target:
        theirs = selftest.measure(target, files, seconds)
        own = speeds.get(selftest.scheme(target), theirs)
        ratio, enough = selftest.verdict(own, theirs)
        report |= {"own": vars(own), "target": vars(theirs), "ratio": ratio, "needed": selftest.QUICKER, "met": enough}
    if output == "json":
        click.echo(json.dumps(report, indent=2))
        return enough
    for name, speed in speeds.items():
        click.echo(f"{name}: {speed.rate:,.0f} calls/s against the null server; {speed.per_core:,.0f} calls per second of generator CPU")
    if target:
        click.echo(f"{target}: {theirs.rate:,.0f} calls/s; the generator could make {ratio:.1f} times that on one core "
                   f"(needed: {selftest.QUICKER:g}): {'met' if enough else 'NOT met'}")
    return enough
