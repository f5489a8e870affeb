"""A program's text, read and parsed with limits: the text is hostile."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mrpc_service.policy.errors import PolicyError, Problem

SOURCE_BYTES_MAX = 64 * 1024
NODES_MAX = 20_000
DEPTH_MAX = 60


@dataclass(frozen=True)
class Source:
    name: str  # as operators know it
    text: str
    tree: ast.Module = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fail(self, node: ast.AST | int, reason: str, hint: str = "") -> NoReturn:
        raise PolicyError([self.problem(node, reason, hint)])

    def problem(self, node: ast.AST | int, reason: str, hint: str = "") -> Problem:
        if isinstance(node, int):
            return Problem(self.name, node, 0, reason, hint)
        return Problem(self.name, getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1, reason, hint)

    def comments(self) -> dict[int, str]:
        """Line -> the comment that ends it."""
        found = {}
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                found[token.start[0]] = token.string.lstrip("# ").rstrip()
        return found


def read(path: Path, name: str | None = None) -> Source:
    """PolicyError when it cannot be read or parsed."""
    name = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        raise PolicyError([Problem(name, 0, 0, f"cannot be read: {error.strerror}", "check the path and its mode")]) from error
    return parse(data, name)


def parse(data: bytes | str, name: str) -> Source:
    """PolicyError with the line of what is wrong."""
    def fail(line: int, column: int, reason: str, hint: str = "") -> NoReturn:
        raise PolicyError([Problem(name, line, column, reason, hint)])

    try:
        raw = data.encode() if isinstance(data, str) else data
        text = raw.decode()
    except UnicodeError:
        fail(0, 0, "is not UTF-8", "save the file as UTF-8")
    if len(raw) > SOURCE_BYTES_MAX:
        fail(0, 0, f"is longer than {SOURCE_BYTES_MAX // 1024} KiB", "split it into several policies of one chain")
    try:
        tree = ast.parse(text, name)
    except SyntaxError as error:
        fail(error.lineno or 0, error.offset or 0, f"syntax error: {error.msg}", "it must be Python 3.11")
    except (ValueError, RecursionError, MemoryError) as error:
        fail(0, 0, f"cannot be parsed: {str(error) or 'nested too deep'}", "nest expressions less deep")
    source = Source(name, text, tree)
    _measure(source)
    return source


def _measure(source: Source) -> None:
    """Without recursion: what comes later may then recurse."""
    stack: list[tuple[ast.AST, int, int]] = [(source.tree, 0, 0)]
    count = 0
    while stack:
        node, depth, line = stack.pop()
        line = getattr(node, "lineno", line)
        count += 1
        if depth > DEPTH_MAX:
            source.fail(line, f"nested deeper than {DEPTH_MAX}", "split it with local names")
        if count > NODES_MAX:
            source.fail(line, f"more than {NODES_MAX} parts", "split it into several policies of one chain")
        stack.extend((child, depth + 1, line) for child in ast.iter_child_nodes(node))
