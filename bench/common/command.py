"""What the command lines of benchmarks share: flags, the screen, parts that may fail, and when results are kept."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.common import report as reports

TABLE_COLUMNS = 170  # where the output is no terminal


def make_parser(name: str, description: str | None, quick: str = "at most 10 minutes; other claims come from the last full run"
                ) -> argparse.ArgumentParser:
    """Of `python -m bench.NAME`, with --quick and --json."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write results")
    return parser


def open_console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=TABLE_COLUMNS)


def make_progress(console: Console) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


def guarded(found: reports.Report, name: str, part: Callable[..., object], *arguments: object) -> None:
    """Runs a part; what it cannot measure here is noted, and its claims stay unmeasured."""
    try:
        part(*arguments)
    except Exception as error:
        found.notes.append(f"{name} was not measured: {''.join(traceback.format_exception_only(error)).strip()}")


def publish(found: reports.Report, results: Path, flags: argparse.Namespace, console: Console, *, whole: bool = True) -> None:
    """Prints the report. A full run of all parts becomes `results`; another has the claims that it did not measure from there."""
    full = whole and not flags.quick
    found.fill_from(None if full else reports.read(results))
    reports.print_report(found, console)
    if flags.json or full:
        found.write(flags.json or results)
