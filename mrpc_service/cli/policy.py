"""Policies as they run: `mrpc policy show`, `mrpc policy history`, `mrpc reload`."""

from __future__ import annotations

import json
from typing import Any

import click

from mrpc_service.cli.output import connect, emit, ns_text, output_option, plain, print_table, time_text


@click.group()
def policy() -> None:
    """See the policy chains in force."""


@policy.command(epilog="\b\nExample: mrpc policy show -o yaml")
@output_option
@click.pass_context
def show(context: click.Context, output: str) -> None:
    """Show the chains in force, in order."""
    with connect(context) as client:
        found = plain(client.call("ListChains"))
    for chain in found["chains"]:
        for each in chain["policies"]:
            each["config"] = json.loads(each.pop("config_json"))
    rows = [policy_row(chain, each) for chain in found["chains"] for each in chain["policies"]]
    columns = ("chain", "selects", "policy", "use", "config", "from")
    emit(output, found, lambda: print_table(columns, rows, "No policy chain is in force; metrics are always on."))


def policy_row(chain: dict[str, Any], each: dict[str, Any]) -> tuple[str, ...]:
    selects = f"{chain['client'] or '*'} -> {chain['service'] or '*'}/{chain['method'] or '*'}"
    config = ", ".join(f"{key}={value}" for key, value in each["config"].items())
    return chain["name"], selects, each["name"], each["use"], config, chain["source"]


@policy.command(epilog="\b\nExample: mrpc policy history -n 5")
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many, newest first.")
@output_option
@click.pass_context
def history(context: click.Context, limit: int, output: str) -> None:
    """Show what was applied, when and by whom."""
    with connect(context) as client:
        found = plain(client.call("ListApplied", limit=limit))["records"]
    for record in found:
        record["chains"] = json.loads(record.pop("documents_json"))
    rows = [
        (each["id"], time_text(each["at_unix_s"]), f"uid:{each['operator_uid']}", each["cause"], each["epoch"],
         ns_text(each["pause_ns_max"]), ", ".join(chain["name"] for chain in each["chains"]))
        for each in found
    ]
    columns = ("id#", "when", "operator", "cause", "epoch#", "pause#", "chains")
    emit(output, found, lambda: print_table(columns, rows, "Nothing has been applied."))


@click.command(epilog="\b\nExample: mrpc reload")
@output_option
@click.pass_context
def reload(context: click.Context, output: str) -> None:
    """Let the daemon read its configuration files again; if they are wrong, what ran runs on."""
    with connect(context) as client:
        applied = plain(client.call("Reload"))

    def show_applied() -> None:
        click.echo(f"{applied['chains']} chains in force, epoch {applied['epoch']}, pause {ns_text(applied['pause_ns_max'])}")
        for warning in applied["warnings"]:
            click.secho(warning, fg="yellow")

    emit(output, applied, show_applied)
