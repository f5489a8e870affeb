"""The rules of the interpreted form, one run of one hook: 64-bit ints, faults with their line, steps, texts of bounded size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mrpc_service.policy import language
from mrpc_service.policy.language import Token, Verdict, to_bytes, to_text

if TYPE_CHECKING:
    from mrpc_service.policy.interpreter import Interpreter

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
FUEL = 100_000
TEXT_MAX, ARENA_MAX = 2048, 16384
NO_DEADLINE_NS = 1 << 62
UNSIGNED_32, SIGNED_32, UNSIGNED_64 = {7, 13}, {5, 14, 15, 17}, {4, 6}  # FieldDescriptorProto.Type
MESSAGE, BYTES, STRING, BOOLEAN = 11, 12, 9, 8

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "Eq": lambda a, b: a == b, "NotEq": lambda a, b: a != b, "Lt": lambda a, b: a < b, "LtE": lambda a, b: a <= b,
    "Gt": lambda a, b: a > b, "GtE": lambda a, b: a >= b,
}


class Fault(Exception):
    def __init__(self, kind: str, line: int):
        super().__init__(f"{kind} in line {line}")
        self.kind, self.line = kind, line


@dataclass(frozen=True)
class Self:
    """`self` in a hook."""

    policy: Any


@dataclass(frozen=True)
class CallView:
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Metadata:
    pass


@dataclass(frozen=True)
class Old:
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    value: Any
    path: str
    descriptor: Any


@dataclass(frozen=True)
class Repeated:
    values: list[Any]
    field: Any
    path: str

    def __len__(self) -> int:
        return len(self.values)


class Machine:
    def __init__(self, interpreter: Interpreter, call: Mapping[str, Any]):
        self.interpreter = interpreter
        self.host = interpreter.host
        self.call = CallView(call)
        self.policy: Any = None
        self.fuel = FUEL
        self.used = 0

    def message(self, value: Any, side: str) -> Message:
        return Message(value, side, value.DESCRIPTOR)

    def old(self, values: Mapping[str, Any]) -> Old:
        return Old(values)

    # ---- budgets -----------------------------------------------------------------------------------------------------

    def charge(self, line: int, steps: int) -> None:
        if steps > self.fuel:
            raise Fault("fuel", line)
        self.fuel -= steps

    def made(self, line: int, data: bytes) -> str:
        if len(data) > TEXT_MAX or self.used + len(data) > ARENA_MAX:
            raise Fault("text", line)
        self.used += len(data)
        return to_text(data)

    def turns(self, line: int, over: Iterable[Any]) -> Iterator[Any]:
        for each in over.values if isinstance(over, Repeated) else over:
            self.charge(line, 1)
            yield self.element(line, over, each) if isinstance(over, Repeated) else each

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def whole(self, line: int, value: int) -> int:
        if not INT_MIN <= value <= INT_MAX:
            raise Fault("overflow", line)
        return value

    def binary(self, line: int, op: str, left: Any, right: Any) -> Any:
        if isinstance(left, str):
            return self.made(line, to_bytes(left) + to_bytes(right))
        if op == "Pow":
            return self.power(line, left, right)
        if op == "Div" or isinstance(left, float) or isinstance(right, float):
            return self.floats(line, op, float(left), float(right))
        if op in ("FloorDiv", "Mod") and right == 0:
            raise Fault("division", line)
        value = {"Add": lambda: left + right, "Sub": lambda: left - right, "Mult": lambda: left * right,
                 "FloorDiv": lambda: left // right, "Mod": lambda: left % right}[op]()
        return self.whole(line, value)

    def floats(self, line: int, op: str, left: float, right: float) -> float:
        if op in ("Div", "FloorDiv", "Mod") and right == 0:
            raise Fault("division", line)
        return {"Add": lambda: left + right, "Sub": lambda: left - right, "Mult": lambda: left * right, "Div": lambda: left / right,
                "FloorDiv": lambda: left // right, "Mod": lambda: left % right}[op]()

    def power(self, line: int, base: Any, exponent: int) -> Any:
        found = 1.0 if isinstance(base, float) else 1
        for _ in range(exponent):
            found = found * base if isinstance(base, float) else self.whole(line, found * base)
        return found

    def negative(self, line: int, value: Any) -> Any:
        return -value if isinstance(value, float) else self.whole(line, -value)

    # ---- comparisons -------------------------------------------------------------------------------------------------

    def chain(self, line: int, ops: tuple[str, ...], left: Any, *later: Callable[[], Any]) -> bool:
        for op, each in zip(ops, later, strict=True):
            right = each()
            if not self.compare(line, op, left, right):
                return False
            left = right
        return True

    def compare(self, line: int, op: str, left: Any, right: Any) -> bool:
        if isinstance(left, str):
            left, right = to_bytes(left), to_bytes(right)
            if op not in ("Eq", "NotEq"):
                self.charge(line, min(len(left), len(right)) // 64)
            elif len(left) == len(right):
                self.charge(line, len(left) // 64)
        elif isinstance(left, float) or isinstance(right, float):
            left, right = float(left), float(right)
        return COMPARE[op](left, right)

    def contains(self, line: int, item: Any, where: Any) -> bool:
        if isinstance(where, Metadata):
            return self.host.metadata(to_bytes(item)) is not None
        if isinstance(where, str):
            return self.within(line, to_bytes(item), to_bytes(where))
        if isinstance(where, list) and isinstance(item, str):
            return self.search(line, item, where)
        if isinstance(where, (tuple, set, list)) and not isinstance(where, language.Fields):
            return any(self.compare(line, "Eq", item, each) for each in where)
        return item in where

    def within(self, line: int, item: bytes, where: bytes) -> bool:
        if item and len(item) <= len(where):
            self.charge(line, len(item) * len(where) // 64)
        return item in where

    def search(self, line: int, item: str, where: list[str]) -> bool:
        """By halves, as each comparison costs steps."""
        low, high, wanted = 0, len(where), to_bytes(item)
        while low < high:
            middle = (low + high) // 2
            found = to_bytes(where[middle])
            self.charge(line, min(len(found), len(wanted)) // 64)
            if found == wanted:
                return True
            low, high = (middle + 1, high) if found < wanted else (low, middle)
        return False

    # ---- names with a dot --------------------------------------------------------------------------------------------

    def get(self, line: int, owner: Any, name: str) -> Any:
        if isinstance(owner, Self):
            return self.member(name)
        if isinstance(owner, CallView):
            return self.call_part(name)
        if isinstance(owner, Old):
            return owner.values[name]
        if isinstance(owner, Message):
            return self.read(line, owner, name)
        return getattr(owner, name)

    def member(self, name: str) -> Any:
        declared, interpreter = self.interpreter.declared, self.interpreter
        if name in declared.state:
            return interpreter.row(interpreter.scope(declared.state[name].per), self.call.given)[name]
        if name in declared.stores:
            return language.Replies(host=self, index=list(declared.stores).index(name))
        if name in declared.leases:
            lease = declared.leases[name]
            return language.Lease(lease.rate, lease.burst, lease.share, self, list(declared.leases).index(name))
        value = interpreter.config[name]
        return language.Fields(value) if declared.config[name].annotation == "Fields" else value

    def call_part(self, name: str) -> Any:
        given = self.call.given
        if name == "metadata":
            return Metadata()
        computed: dict[str, Callable[[], Any]] = {
            "unix_s": lambda: given["unix_ns"] // 1_000_000_000, "elapsed_ns": lambda: given["now_ns"] - given["started_ns"],
            "remaining_ns": lambda: max(0, given["deadline_ns"] - given["now_ns"]) if given["deadline_ns"] else NO_DEADLINE_NS,
            "first": lambda: bool(given["first"]), "last": lambda: bool(given["last"]), "denied": lambda: bool(given["denied"]),
        }
        return computed[name]() if name in computed else given[name]

    def read(self, line: int, owner: Message, name: str) -> Any:
        field = owner.descriptor.fields_by_name[name]
        value, path = getattr(owner.value, name), f"{owner.path}.{name}"
        if field.is_repeated:
            return Repeated(list(value), field, path)
        return Message(value, path, field.message_type) if field.type == MESSAGE else self.scalar(line, field, value)

    def scalar(self, line: int, field: Any, value: Any) -> Any:
        if field.type == BYTES:
            return to_text(value)
        return self.whole(line, value) if field.type in UNSIGNED_64 else value

    def element(self, line: int, owner: Repeated, value: Any) -> Any:
        if owner.field.type == MESSAGE:
            return Message(value, owner.path, owner.field.message_type)
        return self.scalar(line, owner.field, value)

    def item(self, line: int, owner: Any, index: Any) -> Any:
        if isinstance(owner, Message):
            for name in index.split("."):
                owner = self.read(line, owner, name)
            return owner
        if not -len(owner.values) <= index < len(owner.values):
            raise Fault("index", line)
        return self.element(line, owner, owner.values[index])

    def has(self, line: int, owner: Message, path: str) -> bool:
        *way, name = path.split(".")
        for each in way:
            owner = self.read(line, owner, each)
        field = owner.descriptor.fields_by_name[name]
        if field.has_presence and not field.is_repeated:
            return bool(owner.value.HasField(name))
        value = getattr(owner.value, name)
        return bool(len(value) if field.is_repeated else value)

    def set(self, line: int, value: Any, owner: Any, path: str) -> None:
        if isinstance(owner, Self):
            state = self.interpreter.declared.state[path]
            row = self.interpreter.row(self.interpreter.scope(state.per), self.call.given)
            row[path] = float(value) if state.type == "float" else value
            return
        *way, name = path.split(".")
        for each in way:
            owner = self.read(line, owner, each)
        field = owner.descriptor.fields_by_name[name]
        kind = field.type
        fits = {**dict.fromkeys(SIGNED_32, (-(1 << 31), (1 << 31) - 1)), **dict.fromkeys(UNSIGNED_32, (0, (1 << 32) - 1)),
                **dict.fromkeys(UNSIGNED_64, (0, INT_MAX))}.get(kind, (INT_MIN, INT_MAX))
        if isinstance(value, int) and kind not in (1, 2) and not fits[0] <= value <= fits[1]:
            raise Fault("overflow", line)
        held = to_bytes(value) if isinstance(value, str) else float(value) if kind in (1, 2) else int(value)
        if self.host.set_field(f"{owner.path}.{name}", held):
            raise Fault("host", line)

    # ---- methods -----------------------------------------------------------------------------------------------------

    def invoke(self, line: int, owner: Any, name: str, *arguments: Any) -> Any:
        if isinstance(owner, Self):
            return getattr(type(owner.policy), name)(owner, *arguments)
        if isinstance(owner, Metadata):
            return to_text(self.host.metadata(to_bytes(arguments[0])) or b"")
        if isinstance(owner, CallView):
            if self.host.set_metadata(*map(to_bytes, arguments)):
                raise Fault("host", line)
            return None
        if isinstance(owner, str):
            return self.affix(line, owner, name, arguments[0])
        if isinstance(owner, language.Replies) and name == "answer":
            return replace(owner.answer(arguments[0]), code=self.host.answer(owner.index, to_bytes(arguments[0])))
        return getattr(owner, name)(*arguments)

    def affix(self, line: int, text: str, name: str, part: str) -> bool:
        whole, wanted = to_bytes(text), to_bytes(part)
        if len(whole) >= len(wanted):
            self.charge(line, len(wanted) // 64)
        return bool(getattr(whole, name)(wanted))

    def store(self, index: int, ttl_ns: int, bytes_max: int) -> None:
        self.host.store(index, max(0, ttl_ns), max(0, bytes_max))

    def take(self, index: int, want: float) -> bool:
        return self.host.take(index, want)

    # ---- functions ---------------------------------------------------------------------------------------------------

    def join(self, line: int, *parts: Any) -> str:
        return self.made(line, b"".join(to_bytes(each) if isinstance(each, str) else str(each).encode() for each in parts))

    def call_key(self, line: int, *values: Any) -> str:
        return self.made(line, b"".join(map(language.encode, values)))

    def hashed(self, line: int, value: Any) -> int:
        if isinstance(value, str):
            self.charge(line, len(to_bytes(value)) // 64)
        return language.hash64(value)

    def call_hash(self, line: int, value: Any) -> int:
        return self.hashed(line, value) >> 1

    def extreme(self, values: tuple[Any, ...], better: Callable[[Any, Any], bool]) -> Any:
        if any(isinstance(each, float) for each in values):
            values = tuple(map(float, values))
        found = values[0]
        for each in values[1:]:
            found = each if better(each, found) else found
        return found

    def call_min(self, line: int, *values: Any) -> Any:
        return self.extreme(values, lambda a, b: a < b)

    def call_max(self, line: int, *values: Any) -> Any:
        return self.extreme(values, lambda a, b: a > b)

    def call_abs(self, line: int, value: Any) -> Any:
        return abs(value) if isinstance(value, float) else self.whole(line, abs(value))

    def call_int(self, line: int, value: Any) -> int:
        if isinstance(value, float) and not (INT_MIN <= value < -float(INT_MIN)):
            raise Fault("overflow", line)
        return int(value)

    def call_float(self, line: int, value: Any) -> float:
        return float(value)

    def call_bool(self, line: int, value: Any) -> bool:
        return bool(value)

    def call_str(self, line: int, value: Any) -> str:
        return value if isinstance(value, str) else self.join(line, value)

    def call_len(self, line: int, value: Any) -> int:
        return len(to_bytes(value)) if isinstance(value, str) else len(value)

    def call_round(self, line: int, value: Any) -> int:
        if isinstance(value, float) and not (INT_MIN <= value < -float(INT_MIN)):
            raise Fault("overflow", line)
        return round(value)

    def call_sqrt(self, line: int, value: Any) -> float:
        if value < 0:
            raise Fault("overflow", line)
        return math.sqrt(value)

    def call_random(self, line: int) -> float:
        return (self.host.random() >> 11) * 2.0 ** -53

    def call_log(self, line: int, text: str) -> None:
        self.host.log(to_bytes(text))

    def call_forward(self, line: int) -> Verdict:
        return language.forward()

    def call_deny(self, line: int, code: int, text: str = "") -> Verdict:
        return language.deny(code if 1 <= code <= 16 else language.UNKNOWN, text)

    def call_delay(self, line: int, ns: int) -> Verdict:
        return language.delay(ns)

    def call_route(self, line: int, key: Any = None, app: str | None = None) -> Verdict:
        if app is None:
            return Verdict("route", value=self.hashed(line, key))
        if not 0 < len(to_bytes(app)) <= 256:
            raise Fault("text", line)
        return Verdict("route", text=app)

    def call_verify_token(self, line: int, text: str, keys: str, audience: str = "", issuer: str = "", leeway_ns: int = 0) -> Token:
        return self.host.token(to_bytes(text), to_bytes(audience), to_bytes(issuer), max(0, leeway_ns))
