"""`mrpc`: one program for operators, git-style. Commands are imported when they are used, so that `mrpc status` is quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from mrpc_service import __version__
from mrpc_service.errors import StartupError

EXIT_FAILED, EXIT_USAGE, EXIT_NO_DAEMON, EXIT_REFUSED, EXIT_CONFLICT, EXIT_WOULD_DENY = 1, 2, 3, 4, 5, 6

COMMANDS = {
    "app": "apps:app",
    "apps": "views:apps",
    "call": "call:call",
    "check": "check:check",
    "completion": "misc:completion",
    "edges": "views:edges",
    "load": "load:load",
    "log-level": "logs:log_level",
    "logs": "logs:logs",
    "metrics": "views:metrics",
    "peers": "views:peers",
    "policy": "policy:policy",
    "reload": "policy:reload",
    "service": "apps:service",
    "services": "views:services",
    "stat": "stat:stat",
    "status": "views:status",
    "version": "misc:version",
}

EPILOG = """\b
Exit codes: 0 done; 1 the check, call or request failed; 2 wrong usage; 3 no mrpcd can be reached; 4 refused to this user;
5 others have changed it meanwhile; 6 a policy would deny too many calls (--force).
\b
Examples:
  mrpc check                               is this host fit, does the daemon answer, does a call pass?
  mrpc stat --watch                        rates, success and latencies of every edge
  mrpc call hotel.Search/Nearby '{"lat": 37.8, "lon": -122.4}'
  mrpc status -o json | jq .open_calls
"""


class LazyGroup(click.Group):
    """Finds commands in COMMANDS, and turns failures to reach the daemon into one line and an exit code."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        return getattr(importlib.import_module(f"mrpc_service.cli.{module}"), attribute)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "; 'mrpc --help' lists them"
            raise click.UsageError(f"no command {args[0]!r}{hint}", context)
        return super().resolve_command(context, args)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--runtime-dir", metavar="DIR", envvar="MRPC_RUNTIME_DIR",
              help="Of the daemon; default $MRPC_RUNTIME_DIR, /run/mrpc as root, else $XDG_RUNTIME_DIR/mrpc.")
@click.version_option(__version__, prog_name="mrpc")
@click.pass_context
def cli(context: click.Context, runtime_dir: str | None) -> None:
    """Look at, and operate, the mRPC daemon of this host."""
    context.obj = runtime_dir


def main() -> None:
    """The console script: `cli`, with every failure as one line and its exit code."""
    try:
        sys.exit(cli.main(prog_name="mrpc", standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except StartupError as error:
        fail(str(error), EXIT_USAGE)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except Exception as error:
        exit_code = control_exit_code(error)
        if exit_code is None:
            raise
        fail(f"{error.code.name}: {error}", exit_code)  # type: ignore[attr-defined]


def control_exit_code(error: Exception) -> int | None:
    """Exit code of a failed call of the operators' API; None for any other error."""
    from grpclib.const import Status

    from mrpc_service.control.client import ControlError, NoDaemon

    if not isinstance(error, ControlError):
        return None
    if error.code == Status.PERMISSION_DENIED:
        return EXIT_REFUSED
    if error.code == Status.ABORTED:
        return EXIT_CONFLICT
    if error.code == Status.FAILED_PRECONDITION:
        return EXIT_WOULD_DENY
    return EXIT_NO_DAEMON if isinstance(error, NoDaemon) else EXIT_FAILED


def fail(text: str, exit_code: int) -> None:
    click.echo(f"mrpc: {text}", err=True)
    sys.exit(exit_code)

