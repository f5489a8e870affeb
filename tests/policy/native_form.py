"""A compiled program of a text and sample messages, in the memory of a test: one row a scope, and images before a page that cannot be read."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from ctypes import c_char, c_double, c_void_p
from pathlib import Path
from typing import Any

from mrpc_service.policy.build import build
from mrpc_service.policy.compiled_form import CompiledForm, read_row
from mrpc_service.policy.declare import declare
from mrpc_service.policy.front import translate
from mrpc_service.policy.source import parse
from mrpc_service.policy.values import check_config

from . import images, sample


class Guarded:
    """Bytes that end where an unreadable page begins: a read behind them ends the process."""

    def __init__(self, data: bytes):
        page = mmap.PAGESIZE
        pages = max(1, (len(data) + page - 1) // page)
        self.map = mmap.mmap(-1, (pages + 1) * page)
        start = ctypes.addressof(c_char.from_buffer(self.map))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(c_void_p(start + pages * page), page, 0) == 0
        aligned = len(data) + -len(data) % 8
        self.address = start + pages * page - aligned
        ctypes.memmove(self.address, data, len(data))


class Keyed(CompiledForm):
    """`text` compiled for `messages`, with a row for each value of each scope. `host`: the attributes of tests' FakeHost."""

    def __init__(self, text: str, host: Any, config: dict[str, Any] | None = None, name: str = "policy.py", layouts: bool = True,
                 previous: Any = None, messages: tuple[Any, Any] = (sample.Request, sample.Reply)):
        source = parse(text, name)
        request, reply = (images.message_layout(each.DESCRIPTOR) if layouts else None for each in messages)
        declared = declare(source)
        checked = check_config(declared.config, config or {})
        built_in = {each: checked[each] for each, field in declared.config.items() if not field.live}
        self.c_text, spec = translate(source, built_in, request, reply, previous)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "program.so")
            path.write_bytes(build(self.c_text, Path(directory)))
            super().__init__(spec | {"object": str(path)}, checked, host, images.encode)  # type: ignore[operator, arg-type]

    def hold(self, image: bytes) -> int:
        guarded = Guarded(image)
        self._lent.append(guarded)
        return guarded.address


class Compiled(Keyed):
    """The same with one row a scope, whoever calls."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.rows = [self.new_row(scope) for scope in self.spec["state"]]

    @property
    def state(self) -> dict[str, Any]:  # type: ignore[override]
        return {name: value for scope, row in zip(self.spec["state"], self.rows, strict=True) for name, value in read_row(scope, row).items()}

    def run(self, hook: str, call: dict[str, Any], message: Any = None, image: bytes | None = None,  # type: ignore[override]
            old: list[dict[str, float] | None] | None = None) -> tuple[Any, ...]:
        """`old`: for upgrade, of each row what it had in the version before (floats), or None where that row is not at hand."""
        data = image if image is not None else images.encode(message) if message is not None else b""
        rows, cells = self._with_old(old or [])
        return self._enter(hook, call, data, rows, cells)

    def _with_old(self, old: list[dict[str, float] | None]) -> tuple[list[Any], list[int]]:
        """Old cells stand behind the new ones of their row; rows that are not at hand are null."""
        rows, cells = list(self.rows), []
        for index, values in enumerate(old):
            if values is None:
                rows[index] = None
                continue
            row, size = rows[index], ctypes.sizeof(rows[index])
            ctypes.resize(row, size + 8 * len(values))
            for at, value in enumerate(values.values()):
                ctypes.memmove(ctypes.addressof(row) + size + 8 * at, ctypes.addressof(c_double(value)), 8)
                cells.append(size + 8 * at)
        return rows, cells
