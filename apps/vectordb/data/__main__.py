"""`python -m apps.vectordb.data build [NAME …]`: builds data sets and keeps them; without `build` it lists them."""

from __future__ import annotations

import argparse

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import cache
from .catalogue import NAMES, load
from .dataset import Dataset
from .sources import MissingSource

SMALL = tuple(name for name in NAMES if name != "synthetic-1m")
console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.vectordb.data", description="Data sets of the vector database")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="which there are, and which are built")
    builder = commands.add_parser("build", help="build and keep them")
    builder.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all but the largest when none is named")
    options = parser.parse_args()
    if options.command != "build":
        show_list()
        return
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no data set {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    raise SystemExit(build(options.names or SMALL))


def show_list() -> None:
    for name in NAMES:
        path = cache.place(name)
        kept = f"{path} ({path.stat().st_size / 2**20:.0f} MiB)" if path.exists() else "[dim]not built"
        console.print(f"{name:18}", kept, highlight=False, soft_wrap=True)


def build(names: tuple[str, ...] | list[str]) -> int:
    """Builds what is not there yet and prints what each holds; 1 when a source was missing.

    A tenant sees at least, in the median and at most so many vectors; a vector is seen by so many tenants on average.
    """
    table = Table("Name", "Vectors", "Dim", "Metric", "Tenants", "Each sees", "Seen by", "Queries", box=SIMPLE, collapse_padding=True)
    failed = 0
    columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        for name in names:
            task = bar.add_task(name, total=None)
            try:
                data = load(name, lambda done, total, task=task: bar.update(task, completed=done, total=total))
                bar.update(task, completed=len(data), total=len(data))
                table.add_row(*described(data))
            except MissingSource as error:
                bar.remove_task(task)
                console.print(f"[red]{name}[/]: {error}", highlight=False, soft_wrap=True)
                failed = 1
    if table.row_count:
        console.print(table)
    return failed


def described(data: Dataset) -> tuple[str, ...]:
    sizes = data.sizes
    return (data.name, f"{len(data):,}", str(data.dim), data.metric, f"{len(sizes):,}",
            f"{sizes.min():,}, {np.median(sizes):,.0f}, {sizes.max():,}", f"{sizes.sum() / len(data):.1f}", f"{len(data.queries):,}")


if __name__ == "__main__":
    main()
