"""Policies as they run: `mrpc policy show|history|explain`, `mrpc reload`; what changes them is in policy_change.py."""

from __future__ import annotations

import json
from typing import Any

import click

from mrpc_service.cli import policy_change, policy_move, policy_test
from mrpc_service.cli.output import connect, counted, emit, ns_text, output_option, plain, print_table, time_text

EPILOG = """\b
Exit codes: 0 done; 1 refused, and what ran runs on; 2 wrong usage; 3 no mrpcd can be reached; 4 refused to this user;
5 others have changed the chains meanwhile; 6 the dry run would deny too many calls (--force).
\b
Examples:
  mrpc policy dry-run limits.yaml && mrpc policy apply limits.yaml
  mrpc policy explain hotel.Search/Nearby
  mrpc policy rollback
"""


@click.group(epilog=EPILOG)
def policy() -> None:
    """Change, and look at, the policy chains in force."""


for command in (policy_change.apply, policy_change.dry_run, policy_change.diff, policy_change.swap, policy_change.rollback,
                policy_change.delete, policy_move.move, policy_test.test):
    policy.add_command(command)


@policy.command(short_help="Show the chains in force, in order.",
                epilog="\b\nExamples:\n  mrpc policy show\n  mrpc policy show guard -o yaml > guard.yaml    to be edited and applied")
@click.argument("chain", required=False, default="")
@click.option("--revision", type=click.IntRange(min=1), default=None, help="As it was then.")
@output_option
@click.pass_context
def show(context: click.Context, chain: str, revision: int | None, output: str) -> None:
    """Show the chains in force, in order; as YAML, the documents as applied."""
    with connect(context) as client:
        found = plain(client.call("Show", chain=chain, revision=revision or 0))
    if output == "yaml":
        click.echo("---\n".join(each["document"] for each in found["chains"]), nl=False)
        return
    for each in found["chains"]:
        parse_configs(each["policies"])
    emit(output, found, lambda: show_chains(found))


def parse_configs(policies: list[dict[str, Any]]) -> None:
    for each in policies:
        each["config"] = json.loads(each.pop("config_json"))


def show_chains(found: dict[str, Any]) -> None:
    rows = [policy_row(chain, each) for chain in found["chains"] for each in chain["policies"]]
    columns = ("chain", "selects", "policy", "use", "config", "layer", "revision#", "from")
    print_table(columns, rows, "No policy chain is in force; metrics are always on.")
    if found["leases"]:
        click.echo()
        rows = [lease_row(each) for each in found["leases"]]
        print_table(("budget", "rate#", "taken#", "refused#", "left#", "kept in"), rows, "")
    for each in found["unfit"]:
        click.secho(f"{each['service']}: calls that a policy selects are refused: {each['reason']}", fg="yellow")


def policy_row(chain: dict[str, Any], each: dict[str, Any]) -> tuple[Any, ...]:
    selects = f"{chain['client'] or '*'} -> {chain['service'] or '*'}/{chain['method'] or '*'}"
    if chain["side"] != "any":
        selects += f" ({chain['side']})"
    use = f"{each['use']} {each['sha256'][:8]}".strip()
    return (chain["name"], selects, each["name"], use, config_text(each["config"]), chain["layer"], chain["changed_in"],
            chain["source"])


def config_text(config: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in config.items())


def lease_row(each: dict[str, Any]) -> tuple[Any, ...]:
    kept = "the policy store" if each["shared"] else f"this daemon alone ({each['error']})"
    numbers = (f"{each[part]:.0f}" for part in ("taken", "refused", "left"))
    return f"{each['chain']}/{each['policy']}/{each['lease']}", f"{each['rate_per_s']:g}/s", *numbers, kept


@policy.command(epilog="\b\nExample: mrpc policy history -n 5")
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many, newest first.")
@output_option
@click.pass_context
def history(context: click.Context, limit: int, output: str) -> None:
    """Show what was put in force, when, by whom, and what it did."""
    with connect(context) as client:
        found = plain(client.call("History", limit=limit))["records"]
    for record in found:
        for chain in record["chains"]:
            parse_configs(chain["policies"])
    columns = ("revision#", "when", "operator", "cause", "state", "changes", "pause#", "in flight#", "rows#", "denies#")
    emit(output, found, lambda: print_table(columns, [history_row(each) for each in found], "Nothing has been applied."))


def history_row(each: dict[str, Any]) -> tuple[Any, ...]:
    report = each["report"]
    in_flight, carried = (sum(shard[part] for shard in report["shards"]) for part in ("calls_in_flight", "rows_carried"))
    state = f"{each['state']}: {report['error']}" if report["error"] else each["state"] + (", forced" if report["forced"] else "")
    return (each["revision"], time_text(each["at_unix_s"]), f"uid:{each['operator_uid']}", each["cause"], state,
            ", ".join(each["changes"]), ns_text(report["pause_ns_max"]), in_flight, carried, report["newly_denied"])


@policy.command(short_help="Show which policies judge a method's calls, at what cost.",
                epilog="\b\nExample: mrpc policy explain hotel.Search/Nearby --client frontend")
@click.argument("method", metavar="SERVICE/METHOD")
@click.option("--client", default="", help="Of calls by this application alone.")
@output_option
@click.pass_context
def explain(context: click.Context, method: str, client: str, output: str) -> None:
    """Show which policies judge the calls of a method, in order, how they run, and what they cost."""
    service, slash, name = method.rpartition("/")
    if not slash:
        raise click.UsageError(f"{method!r} is not SERVICE/METHOD, as hotel.Search/Nearby")
    with connect(context) as api:
        found = plain(api.call("Explain", service=service, method=name, client=client))
    parse_configs(found["policies"])
    emit(output, found, lambda: show_explained(found))


def show_explained(found: dict[str, Any]) -> None:
    rows = [
        (each["chain"], each["policy"], each["use"], each["form"], each["client"], each["side"], ", ".join(each["reads"]),
         ", ".join(each["writes"]), "; ".join(each["state"]), each["evaluations"], each["denied"], each["faults"],
         ns_text(each["ns_total"] / each["evaluations"]) if each["evaluations"] else "-")
        for each in found["policies"]
    ]
    columns = ("chain", "policy", "use", "form", "client", "side", "reads", "changes", "state", "judged#", "denied#", "faults#", "each#")
    print_table(columns, rows, "No policy judges it; metrics are always on.")
    for each in found["unfit"]:
        click.secho(f"calls that a policy selects are refused: {each['reason']}", fg="yellow")


@click.command(short_help="Let the daemon read its configuration files again.",
               epilog="\b\nExample: mrpc reload")
@output_option
@click.pass_context
def reload(context: click.Context, output: str) -> None:
    """Let the daemon read its configuration files again; if they are wrong, what ran runs on."""
    with connect(context) as client:
        applied = plain(client.call("Reload"))

    def show_applied() -> None:
        click.echo(f"{counted(applied['chains'], 'chain')} in force, epoch {applied['epoch']}, pause {ns_text(applied['pause_ns_max'])}")
        for warning in applied["warnings"]:
            click.secho(warning, fg="yellow")

    emit(output, applied, show_applied)
