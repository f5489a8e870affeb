"""What commands share: `-o`, tables, the client of the daemon, and how numbers are shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from mrpc_service.runtime_dir import RuntimeDir, locate

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="How to print."
)


def runtime_of(context: click.Context) -> RuntimeDir:
    return locate(context.find_root().obj)


def connect(context: click.Context) -> Any:
    """A ControlClient of the daemon that the command line and the environment name."""
    from mrpc_service.control.client import ControlClient

    return ControlClient(runtime_of(context))


def plain(message: Any) -> dict[str, Any]:
    """A protobuf message as a dictionary with all fields, 64-bit integers as numbers, bytes in base64."""
    return {field.name: _plain_field(field, getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _plain_field(field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_plain_value(each) for each in value]
    return _plain_value(value)


def _plain_value(value: Any) -> Any:
    if hasattr(value, "DESCRIPTOR"):
        return plain(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def emit(output: str, data: Any, show: Callable[[], None]) -> None:
    """Print `data` as JSON or YAML, or let `show` print it for people."""
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False), nl=False)
    else:
        show()


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A header and one line a row, however wide: a screen folds whole lines, and `grep` finds whole rows. A column stands to
    the right when its name ends in '#'. What no terminal should be told to do is shown as '?'."""
    from rich.cells import cell_len

    cells = [[name.rstrip("#") for name in columns], *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        gaps = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        padded = [gap + cell if name.endswith("#") else cell + gap for name, cell, gap in zip(columns, row, gaps, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines


def printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """A table, or the line `empty` if it has no rows."""
    if not rows:
        click.echo(empty)
        return
    header, *lines = table_lines(columns, rows)
    click.secho(header, bold=True)
    click.echo("\n".join(lines))


def counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count != 1 else "")


def bytes_text(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit takes all")


def ns_text(value: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} ns" if value else "-"


def seconds_text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s" if minutes else f"{rest}s"


def time_text(unix_s: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(unix_s).astimezone().isoformat(sep=" ", timespec="seconds")
