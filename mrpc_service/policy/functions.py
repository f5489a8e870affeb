"""Calls: of the language's functions, of methods of texts, of stores and leases, and of the policy's own methods."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NoReturn

from mrpc_service.policy.errors import near_miss
from mrpc_service.policy.ir import Expr
from mrpc_service.policy.types import BOOL, FLOAT, INT, NONE, NUMBERS, TEXT, TOKEN, VERDICT, Type

if TYPE_CHECKING:
    from mrpc_service.policy.program import Program

BUILTINS = ["min", "max", "abs", "int", "float", "bool", "str", "len", "round", "hash"]
IMPORTED = ["forward", "deny", "delay", "route", "has", "random", "log", "sqrt", "key", "verify_token"]
CODE_MAX = 16
VALUES_MAX = 64


class Functions:
    """The part of Expressions that calls."""

    program: Program
    hook: str

    if TYPE_CHECKING:
        def fail(self, node: ast.AST | int, reason: str, hint: str = "") -> NoReturn: ...
        def expression(self, node: ast.expr) -> Expr: ...
        def to_float(self, value: Expr) -> Expr: ...
        def truth(self, node: ast.AST, value: Expr) -> Expr: ...
        def printable(self, node: ast.AST, value: Expr) -> Expr: ...
        def method(self, node: ast.Call, name: str, arguments: list[Expr]) -> Expr: ...
        def constant(self, node: ast.AST, value: object) -> Expr: ...
        def note_metadata(self, key: Expr) -> None: ...
        def as_text(self, value: Expr) -> Expr: ...

    def of_Call(self, node: ast.Call) -> Expr:
        if isinstance(node.func, ast.Attribute):
            return self.call_attribute(node, node.func)
        if not isinstance(node.func, ast.Name):
            self.fail(node, "this cannot be called", "functions of the language, and methods of the class")
        name = node.func.id
        if name in IMPORTED and name not in self.program.declared.imported:
            self.fail(node, f"{name!r} is not imported", f"from mrpc_service.policy import {name}")
        if name not in IMPORTED and name not in BUILTINS:
            hint = f"self.{name}(...)" if name in self.program.declared.methods else near_miss(name, BUILTINS + IMPORTED)
            self.fail(node, f"there is no function {name!r}", hint)
        found: Expr = getattr(self, f"call_{name}")(node)
        return found

    def arguments(self, node: ast.Call, *wanted: Type | str, usage: str) -> list[Expr]:
        """By position, of these types ("number": int or float)."""
        if node.keywords or len(node.args) != len(wanted):
            self.fail(node, "other arguments than it takes", usage)
        out = []
        for each, want in zip(node.args, wanted, strict=True):
            value = self.as_text(self.expression(each))
            if want == FLOAT and value.type == INT:
                value = self.to_float(value)
            if value.type != want and not (want == "number" and value.type.kind in NUMBERS):
                self.fail(each, f"{value.type} where {want} is wanted", usage)
            out.append(value)
        return out

    # ---- methods -----------------------------------------------------------------------------------------------------

    def call_attribute(self, node: ast.Call, target: ast.Attribute) -> Expr:
        owner = self.expression(target.value)
        if owner.type.kind == "self":
            if target.attr not in self.program.declared.methods:
                self.fail(node, f"there is no method self.{target.attr}", near_miss(target.attr, self.program.declared.methods))
            return self.method(node, target.attr, [self.expression(each) for each in node.args])
        table = {
            "text": ["startswith", "endswith"], "metadata": ["get"], "call": ["set_metadata"], "store": ["answer", "store"], "lease": ["take"],
        }
        names = table.get(owner.type.kind, [])
        if target.attr not in names:
            self.fail(node, f"{owner.type} has no method {target.attr!r}", near_miss(target.attr, names))
        found: Expr = getattr(self, f"{owner.type.kind}_{target.attr}")(node, owner)
        return found

    def only_in(self, node: ast.AST, what: str, *hooks: str) -> None:
        if self.hook not in hooks:
            here = "upgrade" if self.hook == "upgrade" else f"on_{self.hook}"
            self.fail(node, f"{what} has no meaning in {here}", "it is for " + " and ".join("on_" + each for each in hooks))

    def text_startswith(self, node: ast.Call, owner: Expr) -> Expr:
        return Expr("startswith", BOOL, (owner, *self.arguments(node, TEXT, usage=".startswith(text)")), line=node.lineno)

    def text_endswith(self, node: ast.Call, owner: Expr) -> Expr:
        return Expr("endswith", BOOL, (owner, *self.arguments(node, TEXT, usage=".endswith(text)")), line=node.lineno)

    def metadata_get(self, node: ast.Call, owner: Expr) -> Expr:
        (key,) = self.arguments(node, TEXT, usage='call.metadata.get("key"); a text, empty when absent')
        self.note_metadata(key)
        return Expr("metadata", TEXT, (key,), line=node.lineno)

    def call_set_metadata(self, node: ast.Call, owner: Expr) -> Expr:
        self.only_in(node, "set_metadata", "request", "reply")
        return Expr("set_metadata", NONE, tuple(self.arguments(node, TEXT, TEXT, usage='call.set_metadata("key", text)')), line=node.lineno)

    def store_answer(self, node: ast.Call, owner: Expr) -> Expr:
        self.only_in(node, "answer", "request")
        return Expr("answer", VERDICT, tuple(self.arguments(node, TEXT, usage="answer(key(...))")), owner.type.detail, node.lineno)

    def store_store(self, node: ast.Call, owner: Expr) -> Expr:
        self.only_in(node, "store", "reply")
        return Expr("store", NONE, tuple(self.arguments(node, INT, INT, usage="store(ttl_ns, bytes_max)")), owner.type.detail, node.lineno)

    def lease_take(self, node: ast.Call, owner: Expr) -> Expr:
        self.only_in(node, "take", "request", "reply")
        return Expr("take", BOOL, tuple(self.arguments(node, FLOAT, usage="take(1.0)")), owner.type.detail, node.lineno)

    # ---- verdicts ----------------------------------------------------------------------------------------------------

    def call_forward(self, node: ast.Call) -> Expr:
        self.only_in(node, "a verdict", "request", "reply")
        self.arguments(node, usage="forward()")
        return Expr("forward", VERDICT, line=node.lineno)

    def call_deny(self, node: ast.Call) -> Expr:
        self.only_in(node, "a verdict", "request", "reply")
        types = (INT, TEXT)[:len(node.args)] or (INT,)
        code, *text = self.arguments(node, *types, usage="deny(PERMISSION_DENIED, text)")
        if code.op == "const" and not 1 <= code.data <= CODE_MAX:
            self.fail(node, f"{code.data} is no status to deny with", "PERMISSION_DENIED, RESOURCE_EXHAUSTED, ...: 1 to 16")
        return Expr("deny", VERDICT, (code, *(text or [self.constant(node, "")])), line=node.lineno)

    def call_delay(self, node: ast.Call) -> Expr:
        self.only_in(node, "delay", "request", "reply")
        return Expr("delay", VERDICT, tuple(self.arguments(node, INT, usage="delay(nanoseconds)")), line=node.lineno)

    def call_route(self, node: ast.Call) -> Expr:
        self.only_in(node, "route", "request")
        if node.args or len(node.keywords) != 1 or node.keywords[0].arg not in ("key", "app"):
            self.fail(node, "route takes one of 'key' and 'app'", "route(key=request.user), route(app=\"NAME\")")
        value = self.as_text(self.expression(node.keywords[0].value))
        if node.keywords[0].arg == "app":
            if value.type != TEXT:
                self.fail(node, f"an app is named by a text, not by {value.type}", "route(app=\"NAME\")")
            return Expr("route_app", VERDICT, (value,), line=node.lineno)
        return Expr("route_key", VERDICT, (self.hashed(node, value),), line=node.lineno)

    # ---- functions ---------------------------------------------------------------------------------------------------

    def hashed(self, node: ast.AST, value: Expr) -> Expr:
        if value.type.kind not in ("int", "float", "bool", "text"):
            self.fail(node, f"{value.type} cannot be hashed", "one of its fields, or key(...) of several")
        return Expr("hash", INT, (value,), line=getattr(node, "lineno", 0))

    def call_hash(self, node: ast.Call) -> Expr:
        if len(node.args) != 1 or node.keywords:
            self.fail(node, "hash takes one value", "hash(key(a, b)) for several")
        value = self.hashed(node, self.as_text(self.expression(node.args[0])))
        return Expr("half", INT, (value,), line=node.lineno)

    def call_key(self, node: ast.Call) -> Expr:
        if node.keywords or len(node.args) > VALUES_MAX:
            self.fail(node, "key takes values by position", "key(request.user, request.page)")
        return Expr("key", TEXT, tuple(self.printable(each, self.expression(each)) for each in node.args), line=node.lineno)

    def call_has(self, node: ast.Call) -> Expr:
        if len(node.args) != 1 or node.keywords:
            self.fail(node, "has takes one field", "has(request.user)")
        value = self.expression(node.args[0])
        if value.op not in ("field", "child", "array"):
            self.fail(node, "has() of what is no field", "has(request.user)")
        if value.op == "child":
            self.program.reads.setdefault(value.type.detail[1])
        return Expr("has", BOOL, (value.args[0],), value.data, node.lineno)

    def call_random(self, node: ast.Call) -> Expr:
        self.arguments(node, usage="random()")
        self.only_in(node, "random", "request", "reply", "end")
        return Expr("random", FLOAT, line=node.lineno)

    def call_log(self, node: ast.Call) -> Expr:
        self.only_in(node, "log", "request", "reply", "end")
        return Expr("log", NONE, tuple(self.arguments(node, TEXT, usage="log(text)")), line=node.lineno)

    def call_sqrt(self, node: ast.Call) -> Expr:
        return Expr("sqrt", FLOAT, tuple(self.arguments(node, FLOAT, usage="sqrt(number)")), line=node.lineno)

    def call_abs(self, node: ast.Call) -> Expr:
        (value,) = self.arguments(node, "number", usage="abs(number)")
        return Expr("abs", value.type, (value,), line=node.lineno)

    def call_round(self, node: ast.Call) -> Expr:
        (value,) = self.arguments(node, "number", usage="round(number), an int")
        return Expr("round", INT, (value,), line=node.lineno) if value.type == FLOAT else value

    def extreme(self, node: ast.Call, name: str) -> Expr:
        if node.keywords or not 2 <= len(node.args) <= VALUES_MAX:
            self.fail(node, f"{name} takes two values or more", f"{name}(a, b)")
        values = self.arguments(node, *["number"] * len(node.args), usage=f"{name}(a, b) of numbers")
        if any(each.type == FLOAT for each in values):
            values = [self.to_float(each) for each in values]
        found = values[0]
        for each in values[1:]:
            found = Expr(name, found.type, (found, each), line=node.lineno)
        return found

    def call_min(self, node: ast.Call) -> Expr:
        return self.extreme(node, "min")

    def call_max(self, node: ast.Call) -> Expr:
        return self.extreme(node, "max")

    def call_int(self, node: ast.Call) -> Expr:
        value = self.convertible(node, "int", ("int", "float", "bool"))
        return value if value.type == INT else Expr("to_int", INT, (value,), line=node.lineno)

    def call_float(self, node: ast.Call) -> Expr:
        value = self.convertible(node, "float", ("int", "float", "bool"))
        if value.type == BOOL:
            value = Expr("to_int", INT, (value,), line=node.lineno)
        return self.to_float(value)

    def call_bool(self, node: ast.Call) -> Expr:
        value = self.convertible(node, "bool", ("int", "float", "bool", "text", "ints", "texts", "array", "map"))
        return self.truth(node, value)

    def call_str(self, node: ast.Call) -> Expr:
        value = self.convertible(node, "str", ("int", "float", "bool", "text"))
        return value if value.type == TEXT else Expr("join", TEXT, (value,), line=node.lineno)

    def convertible(self, node: ast.Call, name: str, kinds: tuple[str, ...]) -> Expr:
        if node.keywords or len(node.args) != 1:
            self.fail(node, f"{name} takes one value", f"{name}(value)")
        value = self.as_text(self.expression(node.args[0]))
        if value.type.kind not in kinds:
            self.fail(node, f"{name}() of {value.type}", f"{name}() takes {', '.join(kinds)}")
        return value

    def call_len(self, node: ast.Call) -> Expr:
        if node.keywords or len(node.args) != 1:
            self.fail(node, "len takes one value", "len(request.items)")
        before = self.program.reads_bytes
        value = self.as_text(self.expression(node.args[0]))
        if value.op == "field" and value.type == TEXT:
            self.program.reads_bytes = before or reads_blob(value.args[0])  # the length stands in the message itself
        if value.type.kind == "fields":
            return self.constant(node, len(value.type.detail))
        if value.type.kind not in ("text", "ints", "texts", "array", "map"):
            self.fail(node, f"{value.type} has no length", "texts, repeated fields and lists of the configuration have")
        return Expr("len", INT, (value,), line=node.lineno)

    def call_verify_token(self, node: ast.Call) -> Expr:
        self.only_in(node, "verify_token", "request", "reply")
        usage = "verify_token(text, self.keys, audience=text, issuer=text, leeway_ns=int)"
        if len(node.args) != 2:
            self.fail(node, "verify_token takes a text and a key set", usage)
        text, keys = (self.expression(each) for each in node.args)
        if text.type != TEXT or keys.type.kind != "keys":
            self.fail(node, f"{text.type} and {keys.type} where a text and a key set are wanted", usage)
        named = {"audience": self.constant(node, ""), "issuer": self.constant(node, ""), "leeway_ns": self.constant(node, 0)}
        for each in node.keywords:
            if each.arg not in named:
                self.fail(node, f"verify_token has no {each.arg!r}", usage)
            value = self.expression(each.value)
            if value.type != named[each.arg].type:
                self.fail(node, f"{each.arg} is {value.type}", usage)
            named[each.arg] = value
        return Expr("token", TOKEN, (text, *named.values()), keys.type.detail, node.lineno)


def reads_blob(value: Expr) -> bool:
    """Whether the content of a field is read that may stand outside of the image's inline part."""
    return (value.op in ("field", "item") and value.data.is_blob) or any(map(reads_blob, value.args))
