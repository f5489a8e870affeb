"""Runs a compiled program by ctypes: abi.h once more in Python, with a host that a test looks into."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from ctypes import CFUNCTYPE, POINTER, Structure, c_char, c_double, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from mrpc_service.policy.build import build
from mrpc_service.policy.front import translate
from mrpc_service.policy.source import parse
from mrpc_service.policy.values import check_config

from . import images, sample

KINDS = ["forward", "deny", "reply", "delay", "route", "hold", "fault"]
FAULTS = {1: "division", 2: "overflow", 3: "index", 4: "fuel", 5: "bounds", 6: "text", 7: "host"}


class Text(Structure):
    _fields_ = [("data", c_void_p), ("size", c_uint64)]

    def read(self) -> bytes:
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Verdict(Structure):
    _fields_ = [("code", c_int32), ("line", c_int32), ("value", c_uint64), ("text_size", c_uint32), ("text", c_char * 256)]


class Call(Structure):
    _fields_ = [
        ("now_ns", c_uint64), ("unix_ns", c_uint64), ("started_ns", c_uint64), ("deadline_ns", c_uint64), ("message_bytes", c_uint64),
        ("first", c_uint32), ("last", c_uint32), ("status", c_int32), ("denied", c_uint32),
        ("client", Text), ("server", Text), ("service", Text), ("method", Text), ("tenant", Text),
    ]


class Value(Structure):
    _fields_ = [("integer", c_int64), ("number", c_double), ("text", Text)]


class Token(Structure):
    _fields_ = [("valid", c_int32), ("problem", Text), ("subject", Text), ("issuer", Text), ("expires_unix_s", c_int64)]


METADATA = CFUNCTYPE(c_int32, c_void_p, Text, POINTER(Text))
SET_METADATA = CFUNCTYPE(c_int32, c_void_p, Text, Text)
SET_FIELD = CFUNCTYPE(c_int32, c_void_p, c_uint32, POINTER(Value))
RANDOM = CFUNCTYPE(c_uint64, c_void_p)
LOG = CFUNCTYPE(None, c_void_p, Text)
ANSWER = CFUNCTYPE(c_int32, c_void_p, c_uint32, Text)
STORE = CFUNCTYPE(None, c_void_p, c_uint32, c_uint64, c_uint64)
TAKE = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_double)
TOKEN = CFUNCTYPE(None, c_void_p, c_uint32, Text, Text, Text, c_uint64, POINTER(Token))


class HostTable(Structure):
    _fields_ = [("metadata", METADATA), ("set_metadata", SET_METADATA), ("set_field", SET_FIELD), ("random", RANDOM), ("log", LOG),
                ("answer", ANSWER), ("store", STORE), ("take", TAKE), ("token", TOKEN)]


class Frame(Structure):
    _fields_ = [
        ("call", POINTER(Call)), ("image", c_void_p), ("image_bytes", c_uint64), ("config", c_void_p), ("rows", POINTER(c_void_p)),
        ("cells", POINTER(c_uint16)), ("old_cells", POINTER(c_uint16)), ("host", POINTER(HostTable)), ("self", c_void_p),
        ("verdict", POINTER(Verdict)),
    ]


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


class Compiled:
    """One program, its state and its host's answers. `host`: the attributes of tests' FakeHost."""

    def __init__(self, text: str, host: Any, config: dict[str, Any] | None = None, name: str = "policy.py", layouts: bool = True,
                 previous: Any = None, messages: tuple[Any, Any] = (sample.Request, sample.Reply)):
        source = parse(text, name)
        self.host = host
        request = images.message_layout(messages[0].DESCRIPTOR) if layouts else None
        reply = images.message_layout(messages[1].DESCRIPTOR) if layouts else None
        from mrpc_service.policy.declare import declare

        declared = declare(source)
        self.config = check_config(declared.config, config or {})
        built_in = {each: self.config[each] for each, field in declared.config.items() if not field.live}
        self.c_text, self.spec = translate(source, built_in, request, reply, previous)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "program.so")
            path.write_bytes(build(self.c_text, Path(directory)))
            self.library = ctypes.CDLL(str(path))
        self._alive: list[Any] = []
        self._config = self._config_block()
        self._table = self._host_table()
        self._rows()

    # ---- what the data plane would lay out -------------------------------------------------------------------------------

    def _bytes(self, data: bytes) -> Text:
        buffer = ctypes.create_string_buffer(data, len(data) + 1)
        self._alive.append(buffer)
        return Text(ctypes.addressof(buffer), len(data))

    def _config_block(self) -> Any:
        block = ctypes.create_string_buffer(self.spec["config_bytes"] or 1)
        for field in self.spec["config"]:
            value = self.config[field["name"]]
            made: Any = {"int": c_int64, "bool": c_int64, "float": c_double}.get(field["type"])
            if made is not None:
                made = made(value)
            elif field["type"] in ("text", "keys"):
                made = self._bytes(value.encode())
            else:
                items = (c_int64 * len(value))(*value) if field["type"] == "ints" else (Text * len(value))(*(self._bytes(v.encode()) for v in value))
                self._alive.append(items)
                made = Text(ctypes.addressof(items), len(value))
            ctypes.memmove(ctypes.addressof(block) + field["offset"], ctypes.addressof(made), ctypes.sizeof(made))
        return block

    def _rows(self) -> None:
        cells: list[int] = []
        self.rows, self.names = [], []
        for scope in self.spec["state"]:
            row = ctypes.create_string_buffer(8 * len(scope["fields"]))
            for index, field in enumerate(scope["fields"]):
                initial = field["initial"]
                value = self.config[initial] if isinstance(initial, str) else initial
                made: Any = c_double(value) if field["type"] == "float" else c_int64(int(value))
                ctypes.memmove(ctypes.addressof(row) + 8 * index, ctypes.addressof(made), 8)
                cells.append(8 * index)
                self.names.append((field["name"], field["type"], row, 8 * index))
            self.rows.append(row)
        self.cells = (c_uint16 * max(1, len(cells)))(*cells)
        self.row_pointers = (c_void_p * max(1, len(self.rows)))(*(ctypes.addressof(row) for row in self.rows))

    @property
    def state(self) -> dict[str, Any]:
        kinds = {"float": c_double, "int": c_int64, "bool": c_int64}
        out = {}
        for name, kind, row, at in self.names:
            value = kinds[kind].from_buffer(row, at).value
            out[name] = bool(value) if kind == "bool" else value
        return out

    def _host_table(self) -> HostTable:
        host = self.host

        def metadata(_: Any, key: Text, value: Any) -> int:
            found = host.metadata(key.read())
            value[0] = self._bytes(found or b"")
            return int(found is not None)

        def token(_: Any, keys: int, text: Text, audience: Text, issuer: Text, leeway: int, out: Any) -> None:
            told = host.token(text.read(), audience.read(), issuer.read(), leeway)
            out[0] = Token(told.valid, *(self._bytes(each.encode()) for each in (told.problem, told.subject, told.issuer)), told.expires_unix_s)

        def set_field(_: Any, field: int, value: Any) -> int:
            write, given = self.spec["writes"][field], value[0]
            held = given.text.read() if write["kind"] == "text" else given.number if write["kind"] == "float" else given.integer
            return 7 if host.set_field(write["field"], held) else 0

        return HostTable(
            METADATA(metadata), SET_METADATA(lambda _, key, value: 7 if host.set_metadata(key.read(), value.read()) else 0), SET_FIELD(set_field),
            RANDOM(lambda _: host.random()), LOG(lambda _, text: host.log(text.read())),
            ANSWER(lambda _, store, key: host.answer(store, key.read())), STORE(lambda _, store, ttl, size: host.store(store, ttl, size)),
            TAKE(lambda _, lease, want: int(host.take(lease, want))), TOKEN(token))

    def _old_cells(self, old: list[dict[str, float] | None] | None) -> Any:
        """Old cells stand behind the new ones of their row; rows that are not at hand are null."""
        cells = []
        for index, values in enumerate(old or []):
            row = self.rows[index]
            if values is None:
                self.row_pointers[index] = None
                continue
            size = ctypes.sizeof(row)
            ctypes.resize(row, size + 8 * len(values))
            self.row_pointers[index] = ctypes.addressof(row)
            for at, value in enumerate(values.values()):
                ctypes.memmove(ctypes.addressof(row) + size + 8 * at, ctypes.addressof(c_double(value)), 8)
                cells.append(size + 8 * at)
        return (c_uint16 * max(1, len(cells)))(*cells)

    # ---- running -----------------------------------------------------------------------------------------------------

    def run(self, hook: str, call: dict[str, Any], message: Any = None, image: bytes | None = None,
            old: list[dict[str, float] | None] | None = None) -> tuple[Any, ...]:
        """("forward",), ("deny", code, text), ("delay", ns), ("route", hash, app), ("fault", which, line)...

        `old`: for upgrade, of each row what it had in the version before (floats), or None where that row is not at hand."""
        function = getattr(self.library, "mrpc_upgrade" if hook == "upgrade" else f"mrpc_on_{hook}")
        function.restype, function.argtypes = c_int32, [POINTER(Frame)]
        texts = {"client", "server", "service", "method", "tenant"}
        data = image if image is not None else images.encode(message) if message is not None else b""
        held = Call(**{name: self._bytes(value.encode()) if name in texts else value for name, value in call.items()})
        guarded, verdict = Guarded(data), Verdict()
        frame = Frame(ctypes.pointer(held), guarded.address if data else None, len(data), ctypes.addressof(self._config), self.row_pointers,
                      self.cells, self._old_cells(old), ctypes.pointer(self._table), None, ctypes.pointer(verdict))
        kind = KINDS[function(ctypes.byref(frame))]
        text = ctypes.string_at(ctypes.addressof(verdict) + Verdict.text.offset, verdict.text_size)
        return {
            "deny": (kind, verdict.code, text), "delay": (kind, verdict.value), "fault": (kind, FAULTS.get(verdict.code), verdict.line),
            "route": (kind, 0 if text else verdict.value, text),
        }.get(kind, (kind,))
