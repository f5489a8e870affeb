"""The daemon's log from here: `mrpc logs`, `mrpc log-level`."""

from __future__ import annotations

import json
from typing import Any

import click

from mrpc_service.cli.output import connect, emit, output_option, plain, time_text


@click.command(short_help="Print the end of the daemon's log.",
               epilog="\b\nExample: mrpc logs -f -n 20")
@click.option("-f", "--follow", is_flag=True, help="Wait for lines to come; Ctrl-C ends it.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Lines of the past; 0: all kept.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object a line.")
@click.pass_context
def logs(context: click.Context, follow: bool, lines: int, output: str) -> None:
    """Print the daemon's log (the last 2000 lines are kept in its memory)."""
    with connect(context) as client:
        try:
            for line in client.stream("ReadLogs", lines=lines, follow=follow):
                click.echo(line_text(plain(line), output))
        except KeyboardInterrupt:
            return


def line_text(line: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(line)
    return f"{time_text(line['at_unix_s'])} {line['level'].upper():7} {line['logger']}: {line['text']}"


@click.command("log-level", epilog="\b\nExample: mrpc log-level debug")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]), required=False)
@output_option
@click.pass_context
def log_level(context: click.Context, level: str | None, output: str) -> None:
    """Show or set the log level of the running daemon."""
    with connect(context) as client:
        now = plain(client.call("SetLogLevel", level=level or ""))
    emit(output, now, lambda: click.echo(now["level"]))
