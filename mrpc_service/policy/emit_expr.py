"""The C of expressions: one method for each `op` of ir.Expr. Each returns a name or a literal, and may be used more than once."""

from __future__ import annotations

from collections.abc import Callable

from mrpc_service.policy.ir import Expr, Function
from mrpc_service.policy.program import StateCell
from mrpc_service.policy.schema import BOOLEAN, BYTES, DOUBLE, FLOAT32, SIGNED_32, STRING, UNSIGNED_32, UNSIGNED_64, FieldLayout
from mrpc_service.policy.types import BOOL, FLOAT, INT, NONE, TEXT, VERDICT, Type

C_TYPES = {
    "int": "int64_t", "float": "double", "bool": "int", "text": "mrpc_text", "message": "const uint8_t*", "array": "mp_array",
    "map": "mp_array", "ints": "mrpc_list", "texts": "mrpc_list", "token": "mrpc_token", "verdict": "int32_t",
}
CALL_PARTS = {
    **{name: f"f->call->{name}" for name in ("client", "server", "service", "method", "tenant")},
    **{name: f"(int64_t)f->call->{name}" for name in ("now_ns", "started_ns", "message_bytes", "status")},
    "unix_s": "(int64_t)(f->call->unix_ns / 1000000000u)", "elapsed_ns": "(int64_t)(f->call->now_ns - f->call->started_ns)",
    "remaining_ns": "mp_remaining(f->call)", "first": "(f->call->first != 0)", "last": "(f->call->last != 0)", "denied": "(f->call->denied != 0)",
}
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;()[]{}<>=+-*/_'!#%&@|")


def c_type(type_: Type) -> str:
    return C_TYPES[type_.kind]


def c_bytes(data: bytes) -> str:
    return '"' + "".join(chr(each) if each in PLAIN else f"\\{each:03o}" for each in data) + '"'


def c_int(value: int) -> str:
    return f"(-{-(value + 1)}ll - 1)" if value < 0 else f"{value}ll"


def c_float(value: float) -> str:
    if value != value:
        return "__builtin_nan(\"\")"
    if value in (float("inf"), float("-inf")):
        return "__builtin_inf()" if value > 0 else "(-__builtin_inf())"
    return f"({value.hex()})"


class ExpressionEmitter:
    def __init__(self, function: Function):
        self.function = function
        self.lines: list[str] = []
        self.depth = 1
        self.count = 0
        self.root_bytes = 0
        self.makes_text = self.makes_float_text = False
        self.passes: dict[str, str] = {}  # label of an unrolled loop -> that of the turn at hand

    def put(self, line: str) -> None:
        self.lines.append("  " * self.depth + line)

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def fresh(self, type_: Type, value: str = "") -> str:
        name = self.name()
        self.put(f"{c_type(type_)} {name}{' = ' + value if value else ''};")
        return name

    def attempt(self, call: str, line: int) -> None:
        self.put(f"MP_TRY({call}, {line});")

    def attempted(self, type_: Type, function: str, arguments: str, line: int) -> str:
        """The value that a function which can fail leaves in its last argument."""
        name = self.fresh(type_)
        self.attempt(f"{function}({arguments}, &{name})", line)
        return name

    def value(self, e: Expr) -> str:
        method: Callable[[Expr], str] = getattr(self, f"e_{e.op}")
        return method(e)

    def values(self, e: Expr) -> list[str]:
        return [self.value(each) for each in e.args]

    # ---- leaves ------------------------------------------------------------------------------------------------------

    def e_none(self, e: Expr) -> str:
        return ""

    def e_const(self, e: Expr) -> str:
        return self.constant(e.type, e.data)

    def constant(self, type_: Type, value: object) -> str:
        if type_ == BOOL:
            return str(int(bool(value)))
        if type_ == INT:
            return c_int(int(value))  # type: ignore[call-overload]
        if type_ == FLOAT:
            return c_float(float(value))  # type: ignore[arg-type]
        data = value if isinstance(value, bytes) else str(value).encode()
        return f"MP_TEXT({c_bytes(data)}, {len(data)}u)"

    def e_local(self, e: Expr) -> str:
        return str(e.data)

    def e_config(self, e: Expr) -> str:
        kind = "int64_t" if e.type == BOOL else c_type(e.type)
        loaded = f"*(const {kind}*)(f->config + {e.data})"
        return self.fresh(e.type, f"{loaded} != 0" if e.type == BOOL else loaded)

    def cell(self, cell: StateCell) -> str:
        kind = "double" if cell.type == "float" else "int64_t"
        return f"*({kind}*)(f->rows[{cell.scope}] + f->cells[{cell.index}])"

    def e_state(self, e: Expr) -> str:
        loaded = self.cell(e.data)
        if self.function.upgrade:  # of the rows only the one at hand is there
            loaded = f"f->rows[{e.data.scope}] ? {loaded} : 0"
        return self.fresh(e.type, f"({loaded}) != 0" if e.type == BOOL else loaded)

    def e_old_state(self, e: Expr) -> str:
        row, index = e.data
        kind = "double" if e.type == FLOAT else "int64_t"
        return self.fresh(e.type, f"f->rows[{row}] ? *(const {kind}*)(f->rows[{row}] + f->old_cells[{index}]) : 0")

    def e_call_part(self, e: Expr) -> str:
        return self.fresh(e.type, CALL_PARTS[e.data])

    def e_token_part(self, e: Expr) -> str:
        token = self.value(e.args[0])
        return self.fresh(e.type, f"({token}.valid != 0)" if e.data == "valid" else f"{token}.{e.data}")

    # ---- fields of messages ------------------------------------------------------------------------------------------

    def e_root(self, e: Expr) -> str:
        self.root_bytes = e.type.detail[0].struct_bytes
        return "f->image"

    def e_child(self, e: Expr) -> str:
        owner, struct_bytes = self.value(e.args[0]), e.type.detail[0].struct_bytes
        name = self.fresh(e.type, "0")
        self.put(f"if ({owner}) MP_TRY(mp_child(f, {owner} + {e.data.offset}, {struct_bytes}u, &{name}), {e.line});")
        return name

    def e_field(self, e: Expr) -> str:
        owner, layout = self.value(e.args[0]), e.data
        default = layout.default or (b"" if e.type == TEXT else 0)
        name = self.fresh(e.type, self.constant(e.type, default))
        there = "1" if owner == "f->image" else owner
        test = f"{there} && mp_present({owner}, {layout.index}u)" if layout.default else there
        self.put(f"if ({test}) {{")
        self.depth += 1
        self.put(f"{name} = {self.load(f'{owner} + {layout.offset}', layout, e.line)};")
        self.depth -= 1
        self.put("}")
        return name

    def load(self, at: str, layout: FieldLayout, line: int) -> str:
        """One value, where `at` points."""
        kind = layout.kind
        if kind in (STRING, BYTES):
            return self.attempted(TEXT, "mp_text_at", f"f, {at}", line)
        if kind in UNSIGNED_64:
            return self.attempted(INT, "mp_unsigned", at, line)
        if kind == BOOLEAN:
            return f"(*({at}) != 0)"
        loader = {DOUBLE: "f64", FLOAT32: "f32"}.get(kind) or ("u32" if kind in UNSIGNED_32 else "i32" if kind in SIGNED_32 else "i64")
        return f"mp_load_{loader}({at})"

    def e_array(self, e: Expr) -> str:
        owner, layout = self.value(e.args[0]), e.data
        name = self.fresh(e.type, "{0, 0}")
        self.put(f"if ({owner}) MP_TRY(mp_array_at(f, {owner} + {layout.offset}, {layout.element_bytes}u, &{name}), {e.line});")
        return name

    def e_item(self, e: Expr) -> str:
        items, index = self.values(e)
        at = self.name()
        self.put(f"uint64_t {at};")
        self.attempt(f"mp_index({index}, {items}.count, &{at})", e.line)
        return self.fresh(e.type, self.element(items, at, e.data, e.line))

    def element(self, items: str, at: str, layout: FieldLayout, line: int) -> str:
        place = f"{items}.items + {at} * {layout.element_bytes}u"
        return place if layout.message else self.load(place, layout, line)

    def e_has(self, e: Expr) -> str:
        owner, layout = self.value(e.args[0]), e.data
        place = f"{owner} + {layout.offset}"
        if layout.cardinality != "singular":
            test = f"mp_load_u32({place} + 4) != 0"
        elif layout.has_presence:
            test = f"mp_present({owner}, {layout.index}u)"
        elif layout.kind in (STRING, BYTES):
            test = f"mp_load_u32({place} + 4) != 0"
        elif layout.kind in (DOUBLE, FLOAT32):
            test = f"mp_load_{'f64' if layout.kind == DOUBLE else 'f32'}({place}) != 0"
        else:
            test = {1: f"*({place}) != 0", 4: f"mp_load_u32({place}) != 0", 8: f"mp_load_u64({place}) != 0"}[layout.element_bytes]
        return self.fresh(BOOL, f"{owner} && {test}")

    def e_len(self, e: Expr) -> str:
        value = e.args[0]
        if value.op in ("field", "array") and not (value.op == "field" and value.data.default):
            owner = self.value(value.args[0])  # the length alone: the content may be elsewhere
            return self.fresh(INT, f"{owner} ? (int64_t)mp_load_u32({owner} + {value.data.offset} + 4) : 0")
        return self.fresh(INT, f"(int64_t){self.length(value.type, self.value(value))}")

    @staticmethod
    def length(type_: Type, value: str) -> str:
        return f"({value}).{'size' if type_ == TEXT else 'count'}"

    # ---- arithmetic --------------------------------------------------------------------------------------------------

    def checked(self, e: Expr, function: str) -> str:
        return self.attempted(e.type, function, ", ".join(self.values(e)), e.line)

    def e_int_add(self, e: Expr) -> str:
        return self.checked(e, "mp_add")

    def e_int_sub(self, e: Expr) -> str:
        return self.checked(e, "mp_sub")

    def e_int_mul(self, e: Expr) -> str:
        return self.checked(e, "mp_mul")

    def e_int_floordiv(self, e: Expr) -> str:
        return self.checked(e, "mp_floordiv")

    def e_int_mod(self, e: Expr) -> str:
        return self.checked(e, "mp_mod")

    def plain(self, e: Expr, op: str) -> str:
        left, right = self.values(e)
        return self.fresh(e.type, f"{left} {op} {right}")

    def e_float_add(self, e: Expr) -> str:
        return self.plain(e, "+")

    def e_float_sub(self, e: Expr) -> str:
        return self.plain(e, "-")

    def e_float_mul(self, e: Expr) -> str:
        return self.plain(e, "*")

    def e_float_div(self, e: Expr) -> str:
        return self.checked(e, "mp_float_div")

    def e_float_floordiv(self, e: Expr) -> str:
        return self.checked(e, "mp_float_floordiv")

    def e_float_mod(self, e: Expr) -> str:
        return self.checked(e, "mp_float_mod")

    def e_power(self, e: Expr) -> str:
        """By repeated multiplication, in this order: floats round alike in both forms."""
        base = self.value(e.args[0])
        found = self.fresh(e.type, self.constant(e.type, 1))
        for _ in range(e.data):
            if e.type == INT:
                self.attempt(f"mp_mul({found}, {base}, &{found})", e.line)
            else:
                self.put(f"{found} *= {base};")
        return found

    def e_neg(self, e: Expr) -> str:
        value = self.value(e.args[0])
        return self.attempted(INT, "mp_sub", f"0, {value}", e.line) if e.type == INT else self.fresh(FLOAT, f"-{value}")

    def e_abs(self, e: Expr) -> str:
        return self.checked(e, "mp_abs") if e.type == INT else self.fresh(FLOAT, f"__builtin_fabs({self.value(e.args[0])})")

    def e_round(self, e: Expr) -> str:
        return self.checked(e, "mp_round")

    def e_sqrt(self, e: Expr) -> str:
        return self.checked(e, "mp_sqrt")

    def e_to_float(self, e: Expr) -> str:
        return self.fresh(FLOAT, f"(double){self.value(e.args[0])}")

    def e_to_int(self, e: Expr) -> str:
        return self.checked(e, "mp_to_int") if e.args[0].type == FLOAT else self.fresh(INT, self.value(e.args[0]))

    def extreme(self, e: Expr, op: str) -> str:
        first, second = self.values(e)
        return self.fresh(e.type, f"{second} {op} {first} ? {second} : {first}")

    def e_min(self, e: Expr) -> str:
        return self.extreme(e, "<")

    def e_max(self, e: Expr) -> str:
        return self.extreme(e, ">")

    # ---- conditions --------------------------------------------------------------------------------------------------

    def e_truth(self, e: Expr) -> str:
        return self.fresh(BOOL, self.truth(e.args[0].type, self.value(e.args[0])))

    def truth(self, type_: Type, value: str) -> str:
        return f"{value if type_ in (INT, FLOAT) else self.length(type_, value)} != 0"

    def e_not(self, e: Expr) -> str:
        return self.fresh(BOOL, f"!{self.value(e.args[0])}")

    def branch(self, name: str, test: str, other: Expr) -> str:
        self.put(f"if ({test}) {{")
        self.depth += 1
        self.put(f"{name} = {self.value(other)};")
        self.depth -= 1
        self.put("}")
        return name

    def e_and(self, e: Expr) -> str:
        name = self.fresh(BOOL, self.value(e.args[0]))
        return self.branch(name, name, e.args[1])

    def e_or(self, e: Expr) -> str:
        name = self.fresh(BOOL, self.value(e.args[0]))
        return self.branch(name, f"!{name}", e.args[1])

    def e_and_value(self, e: Expr) -> str:
        name = self.fresh(e.type, self.value(e.args[0]))
        return self.branch(name, self.truth(e.type, name), e.args[1])

    def e_or_value(self, e: Expr) -> str:
        name = self.fresh(e.type, self.value(e.args[0]))
        return self.branch(name, f"!({self.truth(e.type, name)})", e.args[1])

    def e_choose(self, e: Expr) -> str:
        test, body, orelse = e.args
        chosen = self.value(test)
        name = self.fresh(e.type)
        for opening, each in ((f"if ({chosen}) {{", body), ("} else {", orelse)):
            self.put(opening)
            self.depth += 1
            value = self.value(each)
            self.put(f"{name} = {value if each.type != NONE else 'MRPC_FORWARD'};")
            self.depth -= 1
        self.put("}")
        return name

    def compare(self, op: str, left: Expr, a: str, right: Expr, b: str, line: int) -> str:
        if left.type == TEXT:
            if op in ("==", "!="):
                found = self.attempted(BOOL, "mp_equal", f"x, {a}, {b}", line)
                return found if op == "==" else f"!{found}"
            return f"{self.attempted(BOOL, 'mp_compare', f'x, {a}, {b}', line)} {op} 0"
        if FLOAT in (left.type, right.type):
            return f"(double){a} {op} (double){b}"
        return f"{a} {op} {b}"

    def e_chain(self, e: Expr) -> str:
        """a < b < c: each evaluated once, and c only when a < b."""
        a, b = self.value(e.args[0]), self.value(e.args[1])
        name = self.fresh(BOOL, self.compare(e.data[0], e.args[0], a, e.args[1], b, e.line))
        opened = 0
        for op, left, right in zip(e.data[1:], e.args[1:], e.args[2:], strict=False):
            self.put(f"if ({name}) {{")
            self.depth += 1
            opened += 1
            a, b = b, self.value(right)
            self.put(f"{name} = {self.compare(op, left, a, right, b, e.line)};")
        for _ in range(opened):
            self.depth -= 1
            self.put("}")
        return name

    def e_among(self, e: Expr) -> str:
        values = self.values(e)
        name = self.fresh(BOOL, "0")
        for each, value in zip(e.args[1:], values[1:], strict=True):
            self.put(f"if (!{name}) {{")
            self.depth += 1
            self.put(f"{name} = {self.compare('==', e.args[0], values[0], each, value, e.line)};")
            self.depth -= 1
            self.put("}")
        return name

    def e_in_metadata(self, e: Expr) -> str:
        key, found = self.value(e.args[0]), self.fresh(TEXT)
        return self.fresh(BOOL, f"f->host->metadata(f, {key}, &{found}) != 0")

    def over_text(self, e: Expr, function: str) -> str:
        return self.attempted(BOOL, function, "x, " + ", ".join(self.values(e)), e.line)

    def e_in_text(self, e: Expr) -> str:
        return self.over_text(e, "mp_in_text")

    def e_in_texts(self, e: Expr) -> str:
        return self.over_text(e, "mp_in_texts")

    def e_startswith(self, e: Expr) -> str:
        return self.over_text(e, "mp_startswith")

    def e_endswith(self, e: Expr) -> str:
        return self.over_text(e, "mp_endswith")

    def e_in_ints(self, e: Expr) -> str:
        value, items = self.values(e)
        return self.fresh(BOOL, f"mp_in_ints({value}, {items})")

    # ---- texts that are made -----------------------------------------------------------------------------------------

    def build(self, e: Expr, put: Callable[[Expr, str, str], str]) -> str:
        self.makes_text = True
        values = self.values(e)
        name = self.fresh(TEXT)
        self.put(f"mp_begin(x, &{name});")
        for each, value in zip(e.args, values, strict=True):
            self.attempt(put(each, name, value), e.line)
        return name

    def e_join(self, e: Expr) -> str:
        return self.build(e, self.put_printed)

    e_concat = e_join

    def put_printed(self, part: Expr, name: str, value: str) -> str:
        if part.type == FLOAT:
            self.makes_float_text = True
        return f"mp_put_{part.type.kind}(x, &{name}, {value})"

    def e_key(self, e: Expr) -> str:
        return self.build(e, self.put_keyed)

    @staticmethod
    def put_keyed(part: Expr, name: str, value: str) -> str:
        if part.type == TEXT:
            return f"mp_key_text(x, &{name}, {value})"
        if part.type == FLOAT:
            return f"mp_put_tagged(x, &{name}, 'f', mp_bits({value}), 8)"
        return f"mp_put_tagged(x, &{name}, '{'b' if part.type == BOOL else 'i'}', (uint64_t){value}, {1 if part.type == BOOL else 8})"

    def e_hash(self, e: Expr) -> str:
        value, type_ = self.value(e.args[0]), e.args[0].type
        name = self.name()
        if type_ == TEXT:
            self.put(f"const mrpc_text {name} = {value};")
            return self.attempted(INT, "mp_hash", f"x, {name}.data, {name}.size", e.line)
        bytes_ = "(uint8_t)" if type_ == BOOL else "(uint64_t)"
        self.put(f"const {'uint8_t' if type_ == BOOL else 'uint64_t'} {name} = {f'mp_bits({value})' if type_ == FLOAT else bytes_ + value};")
        return self.attempted(INT, "mp_hash", f"x, (const char*)&{name}, sizeof {name}", e.line)

    def e_half(self, e: Expr) -> str:
        return self.fresh(INT, f"(int64_t)((uint64_t){self.value(e.args[0])} >> 1)")

    # ---- what the host does ------------------------------------------------------------------------------------------

    def e_metadata(self, e: Expr) -> str:
        key, name = self.value(e.args[0]), self.fresh(TEXT, "{0, 0}")
        self.put(f"if (!f->host->metadata(f, {key}, &{name})) {name}.size = 0;")
        return name

    def e_set_metadata(self, e: Expr) -> str:
        self.attempt(f"f->host->set_metadata(f, {', '.join(self.values(e))})", e.line)
        return ""

    def e_random(self, e: Expr) -> str:
        return self.fresh(FLOAT, "(double)(f->host->random(f) >> 11) * 0x1p-53")

    def e_log(self, e: Expr) -> str:
        self.put(f"f->host->log(f, {self.value(e.args[0])});")
        return ""

    def e_take(self, e: Expr) -> str:
        return self.fresh(BOOL, f"f->host->take(f, {e.data}u, {self.value(e.args[0])}) != 0")

    def e_store(self, e: Expr) -> str:
        ttl, size = (f"(uint64_t)({each} > 0 ? {each} : 0)" for each in self.values(e))
        self.put(f"f->host->store(f, {e.data}u, {ttl}, {size});")
        return ""

    def e_token(self, e: Expr) -> str:
        text, audience, issuer, leeway = self.values(e)
        name = self.fresh(e.type, "{0}")
        self.put(f"f->host->token(f, {e.data}u, {text}, {audience}, {issuer}, (uint64_t)({leeway} > 0 ? {leeway} : 0), &{name});")
        return name

    def e_call(self, e: Expr) -> str:
        arguments = ["x", *self.values(e)]
        name = ""
        if e.type != NONE:
            name = self.fresh(e.type)
            arguments.append(f"&{name}")
        self.put(f"if ({e.data}({', '.join(arguments)})) return MRPC_FAULT;")
        return name

    # ---- verdicts ----------------------------------------------------------------------------------------------------

    def verdict(self, call: str) -> str:
        return self.fresh(VERDICT, call)

    def e_forward(self, e: Expr) -> str:
        return "MRPC_FORWARD"

    def e_deny(self, e: Expr) -> str:
        return self.verdict(f"mp_deny(f, {', '.join(self.values(e))})")

    def e_delay(self, e: Expr) -> str:
        return self.verdict(f"mp_delay(f, {self.value(e.args[0])})")

    def e_route_key(self, e: Expr) -> str:
        return self.verdict(f"mp_route_key(f, {self.value(e.args[0])})")

    def e_route_app(self, e: Expr) -> str:
        self.attempt(f"mp_route_app(f, {self.value(e.args[0])})", e.line)
        return "MRPC_ROUTE"

    def e_answer(self, e: Expr) -> str:
        return self.verdict(f"mp_answer(f, {e.data}u, {self.value(e.args[0])})")
