"""Documents on their way to the daemon: read here, with the programs beside them, so that it needs no access to the operator's files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

SUFFIXES = (".yaml", ".yml")


def document_files(paths: Sequence[str]) -> list[dict[str, Any]]:
    """The API's DocumentFile of each file, of those in a directory, and of "-", standard input. UsageError."""
    return [_document_file(path) for given in paths for path in _expand(given)]


def _expand(given: str) -> Iterable[str]:
    path = Path(given)
    if given == "-" or not path.is_dir():
        return [given]
    return [str(entry) for entry in sorted(path.iterdir()) if entry.suffix in SUFFIXES]


def _document_file(path: str) -> dict[str, Any]:
    if path == "-":
        name, text, directory = "<stdin>", sys.stdin.read(), Path.cwd()
    else:
        name, text, directory = path, read_text(Path(path)), Path(path).parent
    return {"name": name, "text": text, "programs": {use: read_text(directory / use) for use in paths_used(text)}}


def read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def paths_used(text: str) -> list[str]:
    """What policies `use` that is a file beside the document. What is no document is left for the daemon to refuse."""
    try:
        contents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError, ValueError):
        return []
    return sorted({use for content in contents for use in _uses(content) if is_path(use)})


def _uses(content: Any) -> list[str]:
    try:
        uses = [policy["use"] for policy in content["spec"]["policies"]]
    except (KeyError, TypeError):
        return []
    return [use for use in uses if isinstance(use, str)]


def is_path(use: str) -> bool:
    return "/" in use or use.endswith(".py")


def swapped(document: str, policy: str, use: str) -> str:
    """A chain's document with another program for one policy. UsageError when it has no such policy."""
    content = yaml.safe_load(document)
    policies = content["spec"]["policies"]
    named = [each for each in policies if each["name"] == policy]
    if not named:
        raise click.UsageError(f"chain {content['metadata']['name']!r} has no policy {policy!r}; it has "
                               f"{', '.join(each['name'] for each in policies)}")
    named[0]["use"] = use
    return yaml.safe_dump(content, sort_keys=False)
