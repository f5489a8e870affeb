"""Small commands: version and completion."""

from __future__ import annotations

import click

from mrpc_service import __version__
from mrpc_service.cli.output import connect, emit, output_option

COMPLETION = {
    "bash": 'eval "$(_MRPC_COMPLETE=bash_source mrpc)"   # add it to ~/.bashrc',
    "zsh": 'eval "$(_MRPC_COMPLETE=zsh_source mrpc)"   # add it to ~/.zshrc',
    "fish": "_MRPC_COMPLETE=fish_source mrpc | source   # add it to ~/.config/fish/completions/mrpc.fish",
}

@click.command(epilog="\b\nExample: mrpc version -o json")
@output_option
@click.pass_context
def version(context: click.Context, output: str) -> None:
    """Show the versions of this program and of the daemon."""
    from mrpc_service.control.client import ControlError

    found = {"mrpc": __version__, "mrpcd": ""}
    try:
        with connect(context) as client:
            found["mrpcd"] = client.call("GetStatus").version
    except ControlError:
        pass  # no daemon is an answer here, not an error
    emit(output, found, lambda: click.echo(f"mrpc {found['mrpc']}, mrpcd {found['mrpcd'] or 'not running'}"))


@click.command(epilog="\b\nExample: mrpc completion bash")
@click.argument("shell", type=click.Choice(list(COMPLETION)))
def completion(shell: str) -> None:
    """Say how to complete commands in a shell by the Tab key."""
    click.echo(COMPLETION[shell])
