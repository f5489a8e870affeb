"""`mrpc check`: is this host fit for mrpcd, does a daemon serve it, is it set up with care, and does a call pass?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from mrpc_service.cli import check_daemon, check_host
from mrpc_service.cli.findings import FAIL, PASS, WARN, Finding
from mrpc_service.cli.output import emit, output_option, runtime_of
from mrpc_service.runtime_dir import RuntimeDir

COLOURS = {PASS: "green", WARN: "yellow", FAIL: "red"}


@click.command(short_help="Test this host and its daemon, and say how to mend them.",
               epilog="\b\nExamples:\n  mrpc check                before anything else, and when something is strange\n"
                      "  mrpc check --host-only    before a daemon is installed")
@click.option("--host-only", is_flag=True, help="Leave out what needs a running daemon.")
@output_option
@click.pass_context
def check(context: click.Context, host_only: bool, output: str) -> None:
    """Test this host and its daemon, and say how to mend what is wrong. Exit code 1 if a test fails."""
    runtime = runtime_of(context)
    findings = []
    for finding in run_checks(runtime, host_only):
        findings.append(finding)
        if output == "table":
            show(finding)
    counts = {result: sum(finding.result == result for finding in findings) for result in COLOURS}
    emit(output, [finding._asdict() for finding in findings], lambda: show_counts(counts))
    if counts[FAIL]:
        context.exit(1)


def run_checks(runtime: RuntimeDir, host_only: bool) -> Iterator[Finding]:
    yield from check_host.findings(runtime)
    if not host_only:
        yield from check_daemon.findings(runtime)


def show(finding: Finding) -> None:
    click.secho(f"{finding.result:5}", fg=COLOURS[finding.result], bold=True, nl=False)
    click.echo(f"{finding.test}: {finding.text}")
    if finding.mend:
        click.echo(f"     -> {finding.mend}")


def show_counts(counts: dict[str, Any]) -> None:
    click.echo(f"{counts[PASS]} passed, {counts[WARN]} warnings, {counts[FAIL]} failed")
