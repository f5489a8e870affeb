"""Commands that show what the daemon holds: status, apps, services, edges, peers, metrics."""

from __future__ import annotations

from typing import Any

import click

from mrpc_service.cli.output import bytes_text, connect, counted, emit, ns_text, output_option, plain, print_table, seconds_text
from mrpc_service.latency import quantile_ns


def snapshot_part(context: click.Context, part: str) -> list[dict[str, Any]]:
    with connect(context) as client:
        return plain(client.call("GetSnapshot"))[part]


@click.command(epilog="\b\nExample: mrpc status -o json | jq .open_calls")
@output_option
@click.pass_context
def status(context: click.Context, output: str) -> None:
    """Show how the daemon was started and how it fares."""
    with connect(context) as client:
        found = plain(client.call("GetStatus"))
    emit(output, found, lambda: show_status(found))


def show_status(found: dict[str, Any]) -> None:
    listen = f"{found['listen']} ({'plaintext' if found['insecure'] else 'TLS'})" if found["listen"] else "no other daemons"
    since = seconds_text(found["uptime_ns"] / 1e9)
    memory = f"{bytes_text(found['rss_bytes'])} of its own, {bytes_text(found['shared_memory_bytes'])} shared with applications"
    holds = ", ".join(counted(found[f"{part}s"], part) for part in ("attachment", "service", "edge", "peer"))
    rows = [
        ("mrpcd", f"{found['version']}, {found['state']} for {since}, pid {found['pid']}, uid {found['uid']}"),
        ("take-overs", f"{found['takeovers']}, the last with a pause of {ns_text(found['takeover_pause_ns'])}" if found["takeovers"] else "none"),
        ("node", found["node"]),
        ("socket", found["socket"]),
        ("state", found["state_dir"]),
        ("listening for", listen),
        ("registry", found["registry"] or "none"),
        ("metrics", f"http://{found['metrics']}/metrics" if found["metrics"] else "mrpc metrics (no HTTP endpoint)"),
        ("config", ", ".join(found["config"]) or "none"),
        ("policy epoch", found["epoch"]),
        ("log level", found["log_level"]),
        ("shards", found["shards"]),
        ("holds", holds),
        ("open calls", found["open_calls"]),
        ("memory", memory),
        ("processor", f"{found['cpu_seconds']:.1f} s"),
    ]
    for name, text in rows:
        click.echo(f"{name:14} {text}")
    if found["config_error"]:
        click.secho(f"the last reload was refused: {found['config_error']}", fg="yellow")


@click.command(short_help="List the attached applications and the memory they hold.",
               epilog="\b\nExample: mrpc apps -o json")
@output_option
@click.pass_context
def apps(context: click.Context, output: str) -> None:
    """List the attached applications: who they are and what memory they hold.

    The label is what a process calls itself; nothing vouches for it, and no rule trusts it."""
    found = snapshot_part(context, "attachments")
    rows = [
        (each["app"], each["role"], each["principal"], each["pid"], each["label"], bytes_text(each["send_bytes"]),
         bytes_text(each["receive_committed_bytes"]), each["open_calls"])
        for each in found
    ]
    columns = ("app", "role", "principal", "pid#", "label", "send#", "receive#", "open#")
    emit(output, found, lambda: print_table(columns, rows, "No application is attached."))


@click.command(epilog="\b\nExample: mrpc services")
@output_option
@click.pass_context
def services(context: click.Context, output: str) -> None:
    """List the services on offer and their endpoints."""
    found = snapshot_part(context, "services")
    rows = [
        (each["service"], ", ".join(each["methods"]), ", ".join(endpoint_text(end) for end in each["endpoints"]) or "none")
        for each in found
    ]
    emit(output, found, lambda: print_table(("service", "methods", "endpoints"), rows, "No service is on offer."))


def endpoint_text(endpoint: dict[str, Any]) -> str:
    where = "" if endpoint["attachment"] else f"@{endpoint['node']}"
    return f"{endpoint['app']}{where} ({endpoint['open_calls']} open)"


@click.command(short_help="List who calls what, with counts since the start.",
               epilog="\b\nExample: mrpc edges")
@output_option
@click.pass_context
def edges(context: click.Context, output: str) -> None:
    """List who calls what, with counts since the start of the daemon."""
    found = snapshot_part(context, "edges")
    rows = [edge_row(each) for each in found]
    columns = ("client", "server", "method", "calls#", "ok#", "open#", "denied#", "p50#", "p99#")
    emit(output, found, lambda: print_table(columns, rows, "No call has been made yet."))


def edge_row(edge: dict[str, Any]) -> tuple[Any, ...]:
    latency = edge["latency"]
    p50, p99 = (ns_text(quantile_ns(latency["bounds_ns"], latency["counts"], fraction)) for fraction in (0.5, 0.99))
    return (edge["client"], edge["server"], f"{edge['service']}/{edge['method']}", edge["calls"], edge["codes"].get(0, 0),
            edge["in_flight"], edge["denied"], p50, p99)


@click.command(epilog="\b\nExample: mrpc peers")
@output_option
@click.pass_context
def peers(context: click.Context, output: str) -> None:
    """List the other daemons that this one knows."""
    found = snapshot_part(context, "peers")
    rows = [
        (each["node"], each["address"], each["direction"], each["state"], ", ".join(each["services"]), each["error"])
        for each in found
    ]
    columns = ("node", "address", "link", "state", "services", "trouble")
    emit(output, found, lambda: print_table(columns, rows, "No other daemon is known."))


@click.command(epilog="\b\nExample: mrpc metrics | grep mrpc_calls_total")
@click.pass_context
def metrics(context: click.Context) -> None:
    """Print all metrics in Prometheus' text format."""
    with connect(context) as client:
        click.echo(client.call("GetMetrics").text, nl=False)
