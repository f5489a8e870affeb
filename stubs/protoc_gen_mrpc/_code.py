"""Python text: lines with indentation, literals, and imports between generated modules."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from protoc_gen_mrpc._source import Index, Source, TypeRef, is_well_known

_LITERAL_BYTES = 72  # of a descriptor, in one line


class Code:
    """Lines of Python."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = 0

    def line(self, text: str = "") -> None:
        self._lines.append("    " * self._indent + text if text else "")

    def blank(self, count: int) -> None:
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        self._lines.extend([""] * count)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self._indent += 1
        yield
        self._indent -= 1

    def docstring(self, text: str) -> None:
        if not text:
            return
        text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        lines = text.split("\n")
        if len(lines) == 1 and not text.endswith('"'):
            return self.line(f'"""{text}"""')
        self.line(f'"""{lines[0]}')
        for line in lines[1:]:
            self.line(line)
        self.line('"""')

    def text(self) -> str:
        return "\n".join(self._lines).rstrip("\n") + "\n"


def bytes_literal(data: bytes) -> list[str]:
    """`data` as adjacent literals, one a line."""
    return [repr(data[i : i + _LITERAL_BYTES]) for i in range(0, len(data), _LITERAL_BYTES)] or ["b''"]


class Imports:
    """Imports of a generated module, and the names by which it knows other modules' types."""

    def __init__(self, index: Index, source: Source, module: str) -> None:
        self._index = index
        self._source = source
        self._module = module
        self._modules: dict[str, str] = {}  # module path -> alias
        self.well_known = False

    def module(self, source: Source) -> str:
        """The alias of the module that has `source`'s messages."""
        path = source.messages_module
        return self._modules.setdefault(path, "_" + path.replace("/", "_"))

    def type_name(self, full_name: str) -> str:
        """How this module spells a type. `full_name` has a leading dot."""
        ref = self._index.types[full_name]
        return self.ref_name(ref)

    def ref_name(self, ref: TypeRef) -> str:
        if ref.file_name != self._source.proto.name and is_well_known(ref.file_name):
            self.well_known = True
            return f"_wkt.{ref.name}"
        source = self._index.sources[ref.file_name]
        return ref.name if source.messages_module == self._module else f"{self.module(source)}.{ref.name}"

    def write(self, code: Code, *, typing_only: bool = False) -> None:
        if self.well_known:
            code.line("from mrpc import wkt as _wkt")
        for path, alias in sorted(self._modules.items()):
            self._write_one(code, path, alias, typing_only)

    def _write_one(self, code: Code, path: str, alias: str, typing_only: bool) -> None:
        absolute, name = posixpath.dirname(path).replace("/", "."), posixpath.basename(path)
        plain = f"from {absolute} import {name} as {alias}" if absolute else f"import {name} as {alias}"
        if self._source.options.absolute_imports:
            return code.line(plain)
        relative = f"from {relative_package(self._source.folder, posixpath.dirname(path))} import {name} as {alias}"
        if self._source.folder or typing_only:
            return code.line(relative)
        with code.block("if __package__:"):  # modules at the top may also be used without a package around them
            code.line(relative)
        with code.block("else:"):
            code.line(plain)


def relative_package(here: str, there: str) -> str:
    """How a module in folder `here` names folder `there`: ".", "..b", ".a.b"."""
    path = posixpath.relpath(there or ".", here or ".")
    parts = [part for part in path.split("/") if part not in (".", "")]
    ups = parts.count("..")
    return "." * (ups + 1) + ".".join(parts[ups:])
