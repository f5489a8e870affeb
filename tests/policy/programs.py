"""Random small programs of the language, and random messages for them."""

from __future__ import annotations

import random
import re
from typing import Any

from hypothesis import strategies as st

from . import sample

INTS = ["request.number", "request.i32", "request.s64", "request.sf32", "request.u32", "request.user.age", "request.user.address.zip",
        "request.maybe",
        "request.color", "request.next.number", "request.left", "call.now_ns", "call.elapsed_ns", "call.remaining_ns", "call.message_bytes",
        "call.unix_s", "self.count", "self.limit", "self.wait", "len(request.items)", "len(request.text)", "len(request.labels)",
        "len(self.names)", "len(request.blob)", "request.big", "request.f64"]
FLOATS = ["request.ratio", "request.small", "self.level", "self.rate", "request.next.ratio", "random()"]
BOOLS = ["request.flag", "call.first", "self.open", "self.strict", "has(request.user)", "has(request.maybe)", "has(request.user.address)",
         "has(request.number)", "has(request.items)", "has(request.left)", "has(request.right.name)", "has(request[self.field])"]
TEXTS = ["request.text", "request.blob", "request.user.name", "request.user.address.city", "request.note", "request.right.tier", "call.client",
         "call.tenant", "self.label", "request[self.field]", "call.metadata.get('who')", "call.metadata.get(request.text)"]
LITERALS = ["0", "1", "-1", "2", "3", "7", "100", "9223372036854775807", "-9223372036854775807 - 1"]
FLOAT_LITERALS = ["0.0", "1.0", "-0.5", "2.5", "1e300", "0.1", "3.0", "1e-7", "inf"]
TEXT_LITERALS = ["''", "'a'", "'é'", "'alpha'", "'\\x00'", "'\"%s\\\\'"]

SHAPES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "int": (INTS, LITERALS, [
        "($I + $I)", "($I - $I)", "($I * $I)", "($I // $I)", "($I % $I)", "-($I)", "abs($I)", "min($I, $I)", "max($I, $I, 5)", "int($F)", "round($F)",
        "($I if $B else $I)", "int($B)", "len($T)", "request.numbers[$I]", "request.items[$I].count", "hash($V)", "($I or $I)", "($I and $I)",
        "($I ** 2)", "($I ** 3)", "self.helper($I, $I)", "ODD"]),
    "float": (FLOATS, FLOAT_LITERALS, [
        "($F + $F)", "($F - $I)", "($I * $F)", "($F / $F)", "($I / $I)", "($F // $F)", "($F % $F)", "min($F, $I)", "max($I, $F)", "abs($F)",
        "sqrt($F)",
        "float($I)", "($F if $B else $F)", "request.ratios[$i]", "($F or $F)", "request.items[$i].price", "($F ** 3)", "-($F)"]),
    "bool": (BOOLS, ["True", "False"], [
        "($A @op $A)", "($A @op $A < $A)", "($A >= $A @op $A)", "(not $B)", "($B and $B)", "($B or $B)", "($T in self.names)",
        "($I not in self.numbers)",
        "($T in $T)", "($A in ($A, $A))", "($T).startswith($t)", "($T).endswith($t)", "($t in call.metadata)", "bool($V)", "($I @op $F)",
        "request.flags[$i]", "('text' in self.fields)"]),
    "text": (TEXTS, TEXT_LITERALS, [
        "($T + $T)", "str($V)", "key($V, $V)", "request.words[$i]", "($T or $T)", "($T if $B else $T)", "request.items[$i].sku",
        "self.label_of(request.user)", "request.items[-1].owner.name", "f\"{self.count}-{self.level}{request.flag} {request.text}\""]),
}

HEAD = '''from math import inf

from mrpc_service.policy import (
    PERMISSION_DENIED, Duration, Field, Fields, Policy, Scope, delay, deny, forward, has, hash, key, log, random, route, sqrt, state,
)

ODD = 3 * 7


class Fuzzed(Policy):
    limit: int = 10
    rate: float = 0.3
    strict: bool = True
    label: str = "lab"
    wait: Duration = "5ms"
    names: list[str] = ["a", "alpha", "é", "z"]
    numbers: list[int] = [-1, 0, 7, 100]
    field: Field = "user.name"
    fields: Fields = ["text", "user.name", "user.address.city"]
    per: Scope = ["client", "method"]

    count: int = state(per="per", initial="limit")
    level: float = state(per="global", initial=0.5)
    open: bool = state(per="per")
'''


class Maker:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.locals: dict[str, list[str]] = {"int": [], "float": [], "bool": [], "text": []}
        self.count = 0
        self.loops = 0

    def program(self) -> str:
        lines = [HEAD, "    def on_request(self, call, request):"]
        lines += self.block(8, self.random.randint(4, 9))
        lines += ["        " + self.verdict(), "", "    def helper(self, a, b):", "        if a > b:", "            return a - b",
                  "        return (a + b) * 2", "", "    def label_of(self, message):", "        return f'<{message.name}>' + message.tier", ""]
        return "\n".join(lines)

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def of(self, kind: str, depth: int) -> str:
        """An expression of that type."""
        leaves, literals, shapes = SHAPES[kind]
        if depth <= 0 or self.random.random() < 0.2:
            found = self.random.choice(self.random.choice([leaves, literals, self.locals[kind] or leaves]))
            return f"({found})"
        return self.fill(self.random.choice(shapes), depth - 1)

    def fill(self, shape: str, depth: int) -> str:
        """`I`, `F`, `B`, `T`: an expression of that type; `A`: of any, the same type throughout the shape; lower case: a leaf."""
        kinds = {"I": "int", "F": "float", "B": "bool", "T": "text", "A": self.pick("int", "float", "text"), "V": self.pick(*SHAPES)}
        shape = shape.replace("@op", self.pick("==", "!=", "<", "<=", ">", ">="))
        return re.sub(r"\$(\w)", lambda match: self.of(kinds[match[1].upper()], depth if match[1].isupper() else 0), shape)

    def int_(self, depth: int) -> str:
        return self.of("int", depth)

    def float_(self, depth: int) -> str:
        return self.of("float", depth)

    def bool_(self, depth: int) -> str:
        return self.of("bool", depth)

    def text_(self, depth: int) -> str:
        return self.of("text", depth)

    def block(self, indent: int, count: int) -> list[str]:
        known = {kind: list(names) for kind, names in self.locals.items()}
        lines = [line for _ in range(count) for line in self.statement(indent)]
        if indent > 8:
            self.locals = known
        return lines

    def statement(self, indent: int) -> list[str]:
        pad, kind = " " * indent, self.pick("int", "float", "bool", "text")
        value = self.of(kind, 3)
        choice = self.random.random()
        if choice < 0.3:
            self.count += 1
            name = f"{kind[0]}{self.count}"
            line = f"{pad}{name} = {value}"
            self.locals[kind].append(name)
            return [line, f"{pad}log(str({name}))"]
        if choice < 0.45:
            return [pad + self.pick(f"self.count = {self.int_(2)}", f"self.count += {self.int_(1)}", f"self.level = {self.int_(1)}",
                                    f"self.level -= {self.float_(2)}", f"self.open = {self.bool_(2)}")]
        if choice < 0.55:
            return [pad + self.pick(f"request.number = {self.int_(2)}", f"request.i32 = {self.int_(1)}", f"request.u32 += {self.int_(0)}",
                                    f"request.text = {self.text_(1)}", f"request.ratio = {self.float_(1)}", f"request.flag = {self.bool_(1)}",
                                    f"request.user.name = {self.text_(1)}", f"request[self.field] = {self.text_(0)}",
                                    f"call.set_metadata({self.text_(0)}, {self.text_(1)})")]
        if choice < 0.75 and indent < 20:
            return [f"{pad}if {self.bool_(2)}:", *self.block(indent + 4, 2), f"{pad}else:", *self.block(indent + 4, 1)]
        if choice < 0.9 and indent < 16:
            return self.loop(indent)
        return [f"{pad}log({self.text_(2)})", f"{pad}if {self.bool_(1)}:", f"{pad}    {self.verdict()}"]

    def loop(self, indent: int) -> list[str]:
        pad = " " * indent
        self.count += 1
        name = f"x{self.count}"
        over, kind = self.random.choice([
            ("range(3)", "int"), ("range(5, -2, -2)", "int"), ("request.numbers", "int"), ("request.words", "text"), ("request.ratios", "float"),
            ("self.names", "text"), ("self.numbers", "int"), ("request.flags", "bool"), ("self.fields", "field"), ("request.items", "item")])
        known = {each: list(names) for each, names in self.locals.items()}
        if kind in self.locals:
            self.locals[kind].append(name)
            inner = f"log(str({name}))"
        else:
            inner = f"log(f'{{{name}}}' + request[{name}])" if kind == "field" else f"log(f'{{{name}.sku}} {{{name}.count}} {{{name}.owner.name}}')"
        lines = [f"{pad}for {name} in {over}:", f"{pad}    {inner}", *self.block(indent + 4, 1), f"{pad}    if {self.bool_(1)}:",
                 f"{pad}        {self.pick('break', 'continue')}", *self.block(indent + 4, 1)]
        self.locals = known
        return lines

    def verdict(self) -> str:
        return self.random.choice([
            f"return deny(PERMISSION_DENIED, {self.text_(2)})", f"return deny({self.int_(1)}, 'x')" if self.random.random() < 0.1 else "return",
            f"return delay({self.int_(1)})", f"return route(key={self.of(self.pick('int', 'text', 'float', 'bool'), 1)})",
            f"return route(app={self.text_(1)})",
            "return forward()", f"return deny(PERMISSION_DENIED) if {self.bool_(1)} else None"])


# ---- messages --------------------------------------------------------------------------------------------------------

text = st.one_of(st.sampled_from(["", "a", "alpha", "é", "zz", "who"]), st.text(max_size=12))
int64 = st.one_of(st.integers(-3, 12), st.integers(-(1 << 63), (1 << 63) - 1))
int32 = st.one_of(st.integers(-3, 12), st.integers(-(1 << 31), (1 << 31) - 1))
uint32 = st.one_of(st.integers(0, 12), st.integers(0, (1 << 32) - 1))
uint64 = st.one_of(st.integers(0, 12), st.integers(0, (1 << 64) - 1))
double = st.one_of(st.sampled_from([0.0, -0.0, 0.5, 1e22, 1e16, 123456.789]), st.floats())


def user() -> st.SearchStrategy[dict[str, Any]]:
    address = st.fixed_dictionaries({}, optional={"city": text, "zip": uint32})
    return st.fixed_dictionaries({}, optional={"name": text, "tier": text, "age": int32, "address": address, "roles": st.lists(text, max_size=3)})


def item() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={"sku": text, "count": int64, "price": double, "owner": user()})


PLAIN: dict[str, Any] = {
    "user": user(), "number": int64, "big": uint64, "ratio": double, "small": st.floats(width=32), "flag": st.booleans(), "text": text,
    "blob": st.binary(max_size=12), "i32": int32, "f64": uint64, "sf32": int32, "s64": int64, "items": st.lists(item(), max_size=3),
    "numbers": st.lists(int64, max_size=4), "words": st.lists(text, max_size=3), "maybe": int32, "color": st.integers(0, 5),
    "flags": st.lists(st.booleans(), max_size=3), "ratios": st.lists(double, max_size=3), "note": text, "u32": uint32,
    "labels": st.dictionaries(text, text, max_size=2),
}


def requests() -> st.SearchStrategy[Any]:
    whole = st.fixed_dictionaries({}, optional={**PLAIN, "next": st.fixed_dictionaries({}, optional=PLAIN)})
    choice = st.one_of(st.none(), st.tuples(st.just("left"), int64), st.tuples(st.just("right"), user()))
    return st.builds(lambda fields, one: sample.Request(**fields, **(dict([one]) if one else {})), whole, choice)
