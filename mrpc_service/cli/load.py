"""`mrpc load`, which the load generator brings, where it is installed."""

from __future__ import annotations

import click

try:
    from mrpc_service.load.cli import load_command as load
except ModuleNotFoundError as missing:
    absent = str(missing)

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def load(arguments: tuple[str, ...]) -> None:
        """Drive load at a service (not in this installation)."""
        raise click.ClickException(f"the load generator is not in this installation ({absent})")
