"""The compiled form, run by ctypes: abi.h once more in Python. For `mrpc policy test`, and for the tests that hold both forms against each other.

    form = CompiledForm(spec, config, host, encode)
    form.run("request", call, request)  # as Interpreter.run

A row of state for each value of each scope, as in the data plane. The program runs in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from ctypes import CFUNCTYPE, POINTER, Structure, c_char, c_double, c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

from mrpc_service.policy.interpreter import Host
from mrpc_service.policy.spec import ProgramSpec

KINDS = ["forward", "deny", "reply", "delay", "route", "hold", "fault"]
FAULTS = {1: "division", 2: "overflow", 3: "index", 4: "fuel", 5: "bounds", 6: "text", 7: "host"}
TEXTS = frozenset({"client", "server", "service", "method", "tenant"})
METADATA_SCOPE = "metadata:"


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


class CompiledForm:
    """One policy of one chain, with its state."""

    def __init__(self, spec: ProgramSpec, config: Mapping[str, Any], host: Host, encode: Callable[[Any], bytes] = lambda message: b"") -> None:
        """`config`: of LoadedProgram.check_config. `encode`: a message's image; a program that reads no field needs none."""
        self.spec, self.config, self.host, self._encode = spec, config, host, encode
        self.library = ctypes.CDLL(spec["object"])
        self._alive: list[Any] = []  # what the configuration points to
        self._config = self._config_block()
        self._lent: list[Any] = []  # what the host told, as long as a hook runs
        self._table = self._host_table()
        self._rows: dict[tuple[Any, ...], Any] = {}

    def run(self, hook: str, call: Mapping[str, Any], message: Any = None) -> tuple[Any, ...]:
        """("forward",), ("deny", code, text), ("delay", ns), ("route", hash, app), ("fault", which, line), ("reply",), ("hold",).

        `hook`: request, reply, end. `call`: mrpc_call's fields (abi.h), texts as str; `id` tells calls apart."""
        return self._enter(hook, call, self._encode(message) if message is not None else b"", self._rows_of(call))

    def state(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the rows that this call sees."""
        rows = zip(self.spec["state"], self._rows_of(call), strict=True)
        return {name: value for scope, row in rows for name, value in read_row(scope, row).items()}

    # ---- what the data plane would lay out

    def _config_block(self) -> Any:
        block = ctypes.create_string_buffer(self.spec["config_bytes"] or 1)
        for field in self.spec["config"]:
            made = self._config_value(field["type"], self.config[field["name"]])
            ctypes.memmove(ctypes.addressof(block) + field["offset"], ctypes.addressof(made), ctypes.sizeof(made))
        return block

    def _config_value(self, kind: str, value: Any) -> Any:
        if kind in ("int", "bool"):
            return c_int64(value)
        if kind == "float":
            return c_double(value)
        if kind in ("text", "keys"):
            return text_of(value.encode(), self._alive)
        items = (c_int64 * len(value))(*value) if kind == "ints" else (Text * len(value))(*(text_of(each.encode(), self._alive) for each in value))
        self._alive.append(items)
        return Text(ctypes.addressof(items), len(value))

    def new_row(self, scope: Any) -> Any:
        """A row of initial values, a cell for each field in order."""
        row = ctypes.create_string_buffer(8 * len(scope["fields"]))
        for index, field in enumerate(scope["fields"]):
            value = self.config[field["initial"]] if isinstance(field["initial"], str) else field["initial"]
            made: Any = c_double(value) if field["type"] == "float" else c_int64(int(value))
            ctypes.memmove(ctypes.addressof(row) + 8 * index, ctypes.addressof(made), 8)
        return row

    def _rows_of(self, call: Mapping[str, Any]) -> list[Any]:
        found = []
        for index, scope in enumerate(self.spec["state"]):
            key = (index, *(self._scope_value(each, call) for each in scope["scope"]))
            if key not in self._rows:
                self._rows[key] = self.new_row(scope)
            found.append(self._rows[key])
        return found

    def _scope_value(self, scope: str, call: Mapping[str, Any]) -> Any:
        if scope.startswith(METADATA_SCOPE):
            return self.host.metadata(scope.removeprefix(METADATA_SCOPE).encode())
        return None if scope == "global" else call.get("id", 0) if scope == "call" else call[scope]

    def _host_table(self) -> HostTable:
        def lend(data: bytes) -> Text:
            return text_of(data, self._lent)

        def metadata(_: Any, key: Text, value: Any) -> int:
            found = self.host.metadata(key.read())
            value[0] = lend(found or b"")
            return int(found is not None)

        def token(_: Any, keys: int, text: Text, audience: Text, issuer: Text, leeway: int, out: Any) -> None:
            told = self.host.token(text.read(), audience.read(), issuer.read(), leeway)
            out[0] = Token(told.valid, *(lend(each.encode()) for each in (told.problem, told.subject, told.issuer)), told.expires_unix_s)

        def set_field(_: Any, field: int, value: Any) -> int:
            write, given = self.spec["writes"][field], value[0]
            held = given.text.read() if write["kind"] == "text" else given.number if write["kind"] == "float" else given.integer
            return 7 if self.host.set_field(write["field"], held) else 0

        return HostTable(
            METADATA(metadata), SET_METADATA(lambda _, key, value: 7 if self.host.set_metadata(key.read(), value.read()) else 0),
            SET_FIELD(set_field), RANDOM(lambda _: self.host.random()), LOG(lambda _, text: self.host.log(text.read())),
            ANSWER(lambda _, store, key: self.host.answer(store, key.read())),
            STORE(lambda _, store, ttl, size: self.host.store(store, ttl, size)),
            TAKE(lambda _, lease, want: int(self.host.take(lease, want))), TOKEN(token))

    # ---- running

    def _enter(self, hook: str, call: Mapping[str, Any], image: bytes, rows: Sequence[Any], old_cells: Sequence[int] = ()) -> tuple[Any, ...]:
        """`rows`: of each scope; None where it is not at hand."""
        function = getattr(self.library, "mrpc_upgrade" if hook == "upgrade" else f"mrpc_on_{hook}")
        function.restype, function.argtypes = c_int32, [POINTER(Frame)]
        self._lent.clear()
        facts = Call(**{name: text_of(value.encode(), self._lent) if name in TEXTS else value for name, value in call.items() if name != "id"})
        cells = [8 * at for scope in self.spec["state"] for at in range(len(scope["fields"]))]
        verdict = Verdict()
        frame = Frame(
            ctypes.pointer(facts), self.hold(image) if image else None, len(image), ctypes.addressof(self._config),
            (c_void_p * max(1, len(rows)))(*(None if row is None else ctypes.addressof(row) for row in rows)),
            (c_uint16 * max(1, len(cells)))(*cells), (c_uint16 * max(1, len(old_cells)))(*old_cells), ctypes.pointer(self._table), None,
            ctypes.pointer(verdict))
        return outcome(KINDS[function(ctypes.byref(frame))], verdict)

    def hold(self, image: bytes) -> int:
        """Its address, for as long as a hook runs."""
        return int(text_of(image, self._lent).data)


def text_of(data: bytes, keep: list[Any]) -> Text:
    """Of a copy that `keep` holds."""
    buffer = ctypes.create_string_buffer(data, len(data) + 1)
    keep.append(buffer)
    return Text(ctypes.addressof(buffer), len(data))


def read_row(scope: Any, row: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = {"float": c_double, "int": c_int64, "bool": c_int64}
    values = {field["name"]: (field["type"], kinds[field["type"]].from_buffer(row, 8 * at).value) for at, field in enumerate(scope["fields"])}
    return {name: bool(value) if kind == "bool" else value for name, (kind, value) in values.items()}


def outcome(kind: str, verdict: Verdict) -> tuple[Any, ...]:
    text = ctypes.string_at(ctypes.addressof(verdict) + Verdict.text.offset, verdict.text_size)
    if kind == "deny":
        return kind, verdict.code, text
    if kind == "delay":
        return kind, verdict.value
    if kind == "fault":
        return kind, FAULTS.get(verdict.code), verdict.line
    return (kind, 0 if text else verdict.value, text) if kind == "route" else (kind,)
