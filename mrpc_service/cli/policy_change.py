"""Changing the policy chains in force: apply, dry-run, diff, swap, rollback, delete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mrpc_service.cli.output import connect, counted, emit, ns_text, output_option, plain, print_table
from mrpc_service.cli.policy_files import document_files, is_path, read_text, swapped

Command = Callable[..., None]
EXIT_CODES = """

\b
Exit codes: 0 done; 1 refused, and what ran runs on; 5 others have changed the chains meanwhile;
6 the dry run would deny too many calls (--force).
"""


def files_argument(command: Command) -> Command:
    return click.argument("files", nargs=-1, required=True, metavar="FILE...")(command)


def change_options(command: Command) -> Command:
    """What every command that changes something takes."""
    for option in (
        click.option("--revision", type=click.IntRange(min=0), help="Refuse if this is not the revision in force; default: what is now."),
        click.option("--force", is_flag=True, help="Apply it whatever the dry run says."),
        click.option("--deny-share-max", type=click.FloatRange(0, 1), metavar="SHARE",
                     help="Refuse above this share of newly denied calls, of at least 10 recorded; default 0.5."),
    ):
        command = option(command)
    return command


def document_options(command: Command) -> Command:
    for option in (
        click.option("--prune", is_flag=True, help="Delete applied chains that are not in FILE..., too."),
        click.option("--adopt", is_flag=True, help="Take over chains of this name from the daemon's configuration files."),
    ):
        command = option(command)
    return command


def in_force(client: Any, revision: int | None) -> int:
    """The revision that a change is made against: as given, or what is in force now."""
    return client.call("Show").revision if revision is None else revision


def gate(force: bool, deny_share_max: float | None) -> dict[str, Any]:
    return {"force": force} | ({} if deny_share_max is None else {"deny_share_max": deny_share_max})


@click.command(short_help="Put the chains of files in force, all or none.",
               epilog="\b\nExamples:\n  mrpc policy apply limits.yaml\n  mrpc policy show guard -o yaml > guard.yaml    then edit and apply it"
                      + EXIT_CODES)
@files_argument
@document_options
@change_options
@output_option
@click.pass_context
def apply(context: click.Context, files: tuple[str, ...], prune: bool, adopt: bool, revision: int | None, force: bool,
          deny_share_max: float | None, output: str) -> None:
    """Put the chains of FILE... (or folders, or "-") in force, all or none.

    A chain in force of the same name is replaced; state of policies of the same name moves on."""
    given = document_files(files)
    with connect(context) as client:
        against = in_force(client, revision)
        report = plain(client.call("Apply", files=given, prune=prune, adopt=adopt, revision=against, **gate(force, deny_share_max)))
    emit(output, report, lambda: show_report(report))


@click.command("dry-run", short_help="Judge the recorded calls by files' chains; change nothing.",
               epilog="\b\nExample: mrpc policy dry-run limits.yaml")
@files_argument
@document_options
@output_option
@click.pass_context
def dry_run(context: click.Context, files: tuple[str, ...], prune: bool, adopt: bool, output: str) -> None:
    """Compile FILE... and judge the recorded calls by it; change nothing."""
    given = document_files(files)
    with connect(context) as client:
        report = plain(client.call("DryRun", files=given, prune=prune, adopt=adopt, revision=in_force(client, None)))
    emit(output, report, lambda: show_dry_run(report))


@click.command(epilog="\b\nExample: mrpc policy diff limits.yaml --exit-code && echo nothing to do")
@files_argument
@document_options
@click.option("--dry-run", "verdicts", is_flag=True, help="Say, too, which verdicts on recorded calls would change.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there is a difference.")
@output_option
@click.pass_context
def diff(context: click.Context, files: tuple[str, ...], prune: bool, adopt: bool, verdicts: bool, exit_code: bool, output: str) -> None:
    """Show how FILE... differs from what is in force."""
    given = document_files(files)
    with connect(context) as client:
        request = {"files": given, "prune": prune, "adopt": adopt, "revision": in_force(client, None)}
        found = plain(client.call("Diff", **request))
        if verdicts:
            found["dry_run"] = plain(client.call("DryRun", **request))["dry_run"]

    def show() -> None:
        click.echo(found["unified"] or "No difference.\n", nl=False)
        if verdicts:
            show_verdicts(found["dry_run"])

    emit(output, found, show)
    if exit_code and found["changes"]:
        context.exit(1)


@click.command(short_help="Put another program in the place of one policy.",
               epilog="\b\nExample: mrpc policy swap guard limit ./my_limit_v2.py" + EXIT_CODES)
@click.argument("chain")
@click.argument("policy")
@click.argument("program")
@click.option("--adopt", is_flag=True, help="If the chain is of a configuration file, take it over.")
@change_options
@output_option
@click.pass_context
def swap(context: click.Context, chain: str, policy: str, program: str, adopt: bool, revision: int | None, force: bool,
         deny_share_max: float | None, output: str) -> None:
    """Put PROGRAM (a file, or a name on the daemon's policies path) in the place of one POLICY of CHAIN.

    Selector, configuration, the other policies and state by field name stay as they are."""
    with connect(context) as client:
        shown = plain(client.call("Show", chain=chain))
        texts = {each["sha256"]: each["text"] for each in shown["programs"]}
        programs = {each["use"]: texts[each["sha256"]] for each in shown["chains"][0]["policies"] if each["sha256"]}
        use = f"./{Path(program).name}" if is_path(program) else program
        programs.pop(use, None)
        if is_path(program):
            programs[use] = read_text(Path(program))
        file = {"name": chain, "text": swapped(shown["chains"][0]["document"], policy, use), "programs": programs}
        against = shown["revision"] if revision is None else revision
        report = plain(client.call("Apply", files=[file], adopt=adopt, revision=against, cause="swap", **gate(force, deny_share_max)))
    emit(output, report, lambda: show_report(report))


@click.command(short_help="Apply what was applied in an earlier revision.",
               epilog="\b\nExamples:\n  mrpc policy rollback        to the revision before this one\n  mrpc policy rollback 12"
                      + EXIT_CODES)
@click.argument("to", type=click.IntRange(min=1), required=False, metavar="[REVISION]")
@change_options
@output_option
@click.pass_context
def rollback(context: click.Context, to: int | None, revision: int | None, force: bool, deny_share_max: float | None, output: str) -> None:
    """Apply what was applied in an earlier REVISION, programs included; it becomes a new revision."""
    with connect(context) as client:
        against = in_force(client, revision)
        report = plain(client.call("Rollback", to=to or 0, revision=against, **gate(force, deny_share_max)))
    emit(output, report, lambda: show_report(report))


@click.command(short_help="Take applied chains out of force.",
               epilog="\b\nExample: mrpc policy delete guard" + EXIT_CODES)
@click.argument("chains", nargs=-1, required=True, metavar="CHAIN...")
@change_options
@output_option
@click.pass_context
def delete(context: click.Context, chains: tuple[str, ...], revision: int | None, force: bool, deny_share_max: float | None,
           output: str) -> None:
    """Take applied chains out of force; a chain of a file that was adopted comes back."""
    with connect(context) as client:
        against = in_force(client, revision)
        report = plain(client.call("Apply", remove=chains, revision=against, cause="delete", **gate(force, deny_share_max)))
    emit(output, report, lambda: show_report(report))


def show_report(report: dict[str, Any]) -> None:
    changed = ", ".join(report["changes"]) or "nothing changed"
    click.echo(f"revision {report['revision']} in force: {changed}; {counted(report['chains'], 'chain')}, epoch {report['epoch']}")
    click.echo(f"compiled in {ns_text(report['compile_ns'])}, switched in {ns_text(report['switch_ns'])}, "
               f"longest pause {ns_text(report['pause_ns_max'])}")
    rows = [(each["index"], ns_text(each["pause_ns"]), each["calls_in_flight"], each["rows_carried"]) for each in report["shards"]]
    if rows:
        print_table(("shard#", "pause#", "in flight#", "rows carried#"), rows, "")
    show_verdicts(report["dry_run"])
    for warning in report["warnings"]:
        click.secho(warning, fg="yellow")


def show_dry_run(report: dict[str, Any]) -> None:
    click.echo(f"it fits what is on offer, compiled in {ns_text(report['compile_ns'])}; it would change: "
               f"{', '.join(report['changes']) or 'nothing'}")
    show_verdicts(report["dry_run"])


def show_verdicts(found: dict[str, Any]) -> None:
    if not found["calls"]:
        click.echo("dry run: no recorded call is selected")
        return
    click.echo(f"dry run on {counted(found['calls'], 'recorded call')}: {found['denied']} denied")
    rows = [
        (each["chain"], each["policy"], each["evaluated"], each["denied"], each["newly_denied"], each["newly_passed"], each["faults"],
         next((f"{one['client']} -> {one['service']}/{one['method']}: {one['text']}" for one in each["examples"]), ""))
        for each in found["policies"]
    ]
    print_table(("chain", "policy", "judged#", "denied#", "newly#", "no longer#", "faults#", "for example"), rows, "")
    for each in found["policies"]:
        if each["unjudged"]:
            click.secho(f"{each['chain']}/{each['policy']} cannot be judged from recordings ({each['unjudged']} calls): it reads metadata that "
                        f"is not kept ({', '.join(each['withheld'])})", fg="yellow")
