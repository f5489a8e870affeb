"""The `mrpc` command."""

from mrpc_service.cli.commands import main

__all__ = ["main"]
