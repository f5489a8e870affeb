"""From an expression's syntax tree to a typed tree."""

from __future__ import annotations

import ast
from typing import Any, NoReturn

from mrpc_service.policy.constants import INT_MAX, INT_MIN, POWER_MAX, check_constant, fold_constants
from mrpc_service.policy.errors import near_miss
from mrpc_service.policy.functions import Functions
from mrpc_service.policy.ir import Expr
from mrpc_service.policy.program import Program
from mrpc_service.policy.schema import FieldLayout, MessageLayout, SchemaProblem
from mrpc_service.policy.types import BOOL, FLOAT, INT, INTS, NONE, NUMBERS, TEXT, TEXTS, VERDICT, Type
from mrpc_service.policy.values import ANNOTATIONS

ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow"}
COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
ALWAYS = ("request", "reply", "end")
CALL: dict[str, tuple[Type, tuple[str, ...]]] = {  # attribute -> its type, and the hooks that have it
    **{name: (TEXT, ALWAYS) for name in ("client", "server", "service", "method", "tenant")},
    **{name: (INT, ALWAYS) for name in ("now_ns", "unix_s", "started_ns", "elapsed_ns", "remaining_ns")},
    "message_bytes": (INT, ("request", "reply")), "first": (BOOL, ("request", "reply")), "last": (BOOL, ("request", "reply")),
    "status": (INT, ("reply", "end")), "denied": (BOOL, ("end",)), "metadata": (Type("metadata"), ALWAYS),
}
TOKEN_PARTS = {"valid": BOOL, "problem": TEXT, "subject": TEXT, "issuer": TEXT, "expires_unix_s": INT}


class Expressions(Functions):
    """Of one function. FunctionLowering adds statements."""

    def __init__(self, program: Program, hook: str):
        self.program = program
        self.hook = hook
        self.names: dict[str, Expr] = {"self": Expr("static", Type("self"))}
        self.assigned: set[str] = {"self"}
        self.left = False  # whether what comes next is never reached

    def fail(self, node: ast.AST | int, reason: str, hint: str = "") -> NoReturn:
        self.program.declared.source.fail(node, reason, hint)

    def label(self) -> str:
        self.program.labels += 1
        return f"f{self.program.labels}"

    def expression(self, node: ast.expr) -> Expr:
        self.program.spend(node)
        handler = getattr(self, f"of_{type(node).__name__}", None)
        if handler is None:
            self.fail(node, f"{type(node).__name__} cannot stand here", "lists stand on the right of 'in' alone")
        found: Expr = handler(node)
        return found

    # ---- leaves ------------------------------------------------------------------------------------------------------

    def of_Constant(self, node: ast.Constant) -> Expr:
        if node.value is None:
            return Expr("none", NONE, line=node.lineno)
        return self.constant(node, check_constant(self.program.declared.source, node, node.value))

    def constant(self, node: ast.AST, value: Any) -> Expr:
        kinds = {bool: BOOL, int: INT, float: FLOAT, str: TEXT}
        if type(value) not in kinds:
            self.fail(node, "a constant that cannot stand here", "a list stands on the right of 'in'")
        return Expr("const", kinds[type(value)], data=value, line=getattr(node, "lineno", 0))

    def of_Name(self, node: ast.Name) -> Expr:
        found = self.names.get(node.id)
        if found is not None:
            if node.id not in self.assigned:
                self.fail(node, f"{node.id!r} may have no value here", "assign it before the 'if' or the loop")
            return self.root(node, found.type.detail) if found.type.kind == "root" else found
        if node.id in self.program.declared.constants:
            return self.constant(node, self.program.declared.constants[node.id])
        known = {*self.names, *self.program.declared.constants}
        from mrpc_service.policy.language import EXPORTS, STATUS_CODES
        if node.id in EXPORTS:
            what = "is not imported" if node.id in STATUS_CODES or node.id not in self.program.declared.imported else "is a function"
            self.fail(node, f"{node.id!r} {what}", f"from mrpc_service.policy import {node.id}" if "import" in what else f"{node.id}(...)")
        self.fail(node, f"there is no {node.id!r}", near_miss(node.id, known))

    def root(self, node: ast.AST, side: str) -> Expr:
        self.program.needs_layout = True
        layout = self.program.layouts[side]
        if layout is None:
            self.fail(node, f"the {side}'s fields are read, and no schema is known", "a method whose schema is on offer is needed")
        return Expr("root", Type("message", (layout.root, side)), line=getattr(node, "lineno", 0))

    # ---- attributes ---------------------------------------------------------------------------------------------------

    def of_Attribute(self, node: ast.Attribute) -> Expr:
        if isinstance(node.value, ast.Name) and node.value.id not in self.names:
            module = self.program.declared.constants.get(node.value.id)
            if isinstance(module, dict):
                if node.attr not in module:
                    self.fail(node, f"{node.value.id}.{node.attr} is not in the language", near_miss(node.attr, module))
                return self.constant(node, module[node.attr])
        owner = self.expression(node.value)
        handler = getattr(self, f"attribute_of_{owner.type.kind}", None)
        if handler is None:
            self.fail(node, f"{owner.type} has no attribute {node.attr!r}", "texts have .startswith and .endswith" if owner.type == TEXT else "")
        found: Expr = handler(node, owner)
        return found

    def attribute_of_self(self, node: ast.Attribute, owner: Expr) -> Expr:
        program, name = self.program, node.attr
        if name in program.cells:
            return Expr("state", Type(program.cells[name].type), data=program.cells[name], line=node.lineno)
        if name in program.declared.config:
            field = program.declared.config[name]
            if not field.live:
                return Expr("static", Type(field.annotation.lower(), program.compile_time[name]), line=node.lineno)
            kind = ANNOTATIONS[field.annotation]
            return Expr("static" if kind == "keys" else "config", Type(kind, program.offsets[name] if kind == "keys" else None),
                        data=program.offsets[name], line=node.lineno)
        if name in program.declared.stores:
            return Expr("static", Type("store", list(program.declared.stores).index(name)), line=node.lineno)
        if name in program.declared.leases:
            return Expr("static", Type("lease", list(program.declared.leases).index(name)), line=node.lineno)
        self.unknown_member(node)

    def unknown_member(self, node: ast.Attribute) -> NoReturn:
        members = self.program.declared.members()
        if node.attr in self.program.declared.methods:
            self.fail(node, f"self.{node.attr} is a method", f"self.{node.attr}(...)")
        self.fail(node, f"self.{node.attr} is not declared", near_miss(node.attr, members, "declared are"))

    def attribute_of_call(self, node: ast.Attribute, owner: Expr) -> Expr:
        if node.attr not in CALL:
            self.fail(node, f"call has no {node.attr!r}", near_miss(node.attr, [*CALL, "set_metadata"]))
        type_, hooks = CALL[node.attr]
        if self.hook not in hooks:
            named = " and ".join("on_" + each for each in hooks)
            self.fail(node, f"call.{node.attr} is not known in {'upgrade' if self.hook == 'upgrade' else 'on_' + self.hook}", f"it is in {named}")
        return Expr("static" if type_.kind == "metadata" else "call_part", type_, data=node.attr, line=node.lineno)

    def attribute_of_token(self, node: ast.Attribute, owner: Expr) -> Expr:
        if node.attr not in TOKEN_PARTS:
            self.fail(node, f"a token has no {node.attr!r}", near_miss(node.attr, TOKEN_PARTS))
        return Expr("token_part", TOKEN_PARTS[node.attr], (owner,), node.attr, node.lineno)

    def attribute_of_old(self, node: ast.Attribute, owner: Expr) -> Expr:
        if node.attr not in self.program.old:
            self.fail(node, f"the version before had no state {node.attr!r}", near_miss(node.attr, self.program.old))
        row, field = self.program.old[node.attr]
        return Expr("old_state", Type(field["type"]), data=(row, list(self.program.old).index(node.attr)), line=node.lineno)

    def attribute_of_message(self, node: ast.Attribute, owner: Expr) -> Expr:
        return self.read_field(node, owner, node.attr)

    # ---- fields of messages ----------------------------------------------------------------------------------------------

    def message_layout(self, layout: FieldLayout) -> MessageLayout:
        for each in self.program.layouts.values():
            if each is not None and layout.message in each.messages:
                return each.messages[layout.message]
        raise KeyError(layout.message)

    def field_of(self, node: ast.AST, owner: Expr, name: str) -> FieldLayout:
        try:
            field: FieldLayout = owner.type.detail[0].field(name)
            return field
        except SchemaProblem as error:
            self.fail(node, str(error), error.hint)

    def read_field(self, node: ast.AST, owner: Expr, name: str) -> Expr:
        layout = self.field_of(node, owner, name)
        path = f"{owner.type.detail[1]}.{name}"
        line = getattr(node, "lineno", 0)
        if layout.cardinality == "singular" and layout.message:
            return Expr("child", Type("message", (self.message_layout(layout), path)), (owner,), layout, line)
        self.program.reads.setdefault(path)
        if layout.cardinality != "singular":
            return Expr("array", Type("map" if layout.cardinality == "map" else "array", (layout, path)), (owner,), layout, line)
        self.note_blob(layout)
        return Expr("field", layout.value_type, (owner,), layout, line)

    def note_blob(self, layout: FieldLayout) -> None:
        self.program.reads_bytes |= layout.is_blob

    def by_path(self, node: ast.AST, owner: Expr, path: str) -> Expr:
        """request[self.field]: one step for each name of the path."""
        for name in path.split("."):
            if owner.type.kind != "message":
                self.fail(node, f"'{path}': {owner.type} has no field {name!r}", "a path leads through singular messages")
            owner = self.read_field(node, owner, name)
        return owner

    def field_place(self, target: ast.expr) -> tuple[FieldLayout, str, bool] | None:
        """Where an assignment goes: the field, its path, and whether all on the way to it is singular."""
        if isinstance(target, ast.Attribute):
            owner, name = self.expression(target.value), target.attr
        elif isinstance(target, ast.Subscript):
            owner, path = self.expression(target.value), self.expression(target.slice)
            if owner.type.kind != "message" or path.type.kind != "field":
                return None
            *way, name = path.type.detail.split(".")
            if way:
                owner = self.by_path(target, owner, ".".join(way))
        else:
            return None
        if owner.type.kind != "message":
            return None
        return self.field_of(target, owner, name), f"{owner.type.detail[1]}.{name}", self.stands_alone(owner)

    def stands_alone(self, owner: Expr) -> bool:
        while owner.op == "child":
            if owner.data.oneof >= 0:
                return False
            owner = owner.args[0]
        return owner.op == "root"

    def of_Subscript(self, node: ast.Subscript) -> Expr:
        owner, index = self.expression(node.value), self.expression(node.slice)
        if owner.type.kind == "message":
            if index.type.kind != "field":
                self.fail(node, "a message is indexed by a Field of the configuration", "request[self.field], or request.name")
            return self.by_path(node, owner, index.type.detail)
        if owner.type.kind == "map":
            self.fail(node, "a map cannot be indexed", "len() of it can be read; use a singular field")
        if owner.type.kind != "array" or index.type != INT:
            self.fail(node, f"{owner.type} cannot be indexed by {index.type}", "repeated fields are indexed by ints")
        layout, path = owner.type.detail
        self.note_blob(layout)
        if layout.message:
            return Expr("item", Type("message", (self.message_layout(layout), path)), (owner, index), layout, node.lineno)
        return Expr("item", layout.value_type, (owner, index), layout, node.lineno)

    # ---- operators ---------------------------------------------------------------------------------------------------

    def to_float(self, value: Expr) -> Expr:
        if value.type == FLOAT:
            return value
        if value.op == "const":
            return Expr("const", FLOAT, data=float(value.data), line=value.line)
        return Expr("to_float", FLOAT, (value,), line=value.line)

    def of_BinOp(self, node: ast.BinOp) -> Expr:
        left, right = self.expression(node.left), self.expression(node.right)
        return self.binary(node, left, right)

    def binary(self, node: ast.BinOp, left: Expr, right: Expr) -> Expr:
        op = ARITHMETIC[type(node.op)]
        if left.type == right.type == TEXT and op == "add":
            return Expr("concat", TEXT, (left, right), line=node.lineno)
        if left.type.kind not in NUMBERS or right.type.kind not in NUMBERS:
            self.fail(node, f"{left.type} {self.symbol(node.op)} {right.type} cannot be computed", self.conversion(left, right))
        if op == "pow" and not (right.op == "const" and right.type == INT and 0 <= right.data <= POWER_MAX):
            self.fail(node, f"a power that is not a constant from 0 to {POWER_MAX}", "multiply, or sqrt()")
        if left.op == right.op == "const":
            return self.fold(node, left, right)
        if op == "pow":
            return Expr("power", left.type, (left,), right.data, node.lineno)
        if op == "div" or FLOAT in (left.type, right.type):
            return Expr(f"float_{op}", FLOAT, (self.to_float(left), self.to_float(right)), line=node.lineno)
        return Expr(f"int_{op}", INT, (left, right), line=node.lineno)

    def fold(self, node: ast.BinOp, left: Expr, right: Expr) -> Expr:
        try:
            value = fold_constants(type(node.op), left.data, right.data)
        except (ZeroDivisionError, OverflowError) as error:
            self.fail(node, f"cannot be computed: {error}", "change the constant")
        if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            self.fail(node, "a constant that does not fit 64 bits", "use a float")
        return self.constant(node, value)

    @staticmethod
    def symbol(op: ast.operator) -> str:
        return {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "pow": "**"}[ARITHMETIC[type(op)]]

    @staticmethod
    def conversion(left: Expr, right: Expr) -> str:
        if TEXT in (left.type, right.type):
            return "str(...) makes a text, or an f-string"
        return "int(...) makes a number of a bool" if BOOL in (left.type, right.type) else "numbers and texts can be computed with"

    def of_UnaryOp(self, node: ast.UnaryOp) -> Expr:
        if isinstance(node.op, ast.Not):
            return Expr("not", BOOL, (self.condition(node.operand),), line=node.lineno)
        value = self.expression(node.operand)
        if value.type.kind not in NUMBERS:
            self.fail(node, f"{value.type} has no sign", "int(...)")
        if isinstance(node.op, ast.UAdd):
            return value
        if value.op == "const":
            return self.constant(node, check_constant(self.program.declared.source, node, -value.data))
        return Expr("neg", value.type, (value,), line=node.lineno)

    def condition(self, node: ast.expr) -> Expr:
        """As Python's truth: of numbers, texts and lists too."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition_after(each, index) for index, each in enumerate(node.values)]
            return self.boolean("and" if isinstance(node.op, ast.And) else "or", parts, node)
        return self.truth(node, self.expression(node))

    def condition_after(self, node: ast.expr, index: int) -> Expr:
        return self.condition(node)

    def truth(self, node: ast.AST, value: Expr) -> Expr:
        if value.type == BOOL:
            return value
        if value.type.kind not in ("int", "float", "text", "ints", "texts", "array", "map"):
            self.fail(node, f"{value.type} is neither true nor false", "has(...) for messages, .valid for tokens")
        return Expr("truth", BOOL, (value,), line=value.line)

    def boolean(self, op: str, parts: list[Expr], node: ast.AST) -> Expr:
        found = parts[0]
        for each in parts[1:]:
            found = Expr(op, BOOL, (found, each), line=getattr(node, "lineno", 0))
        return found

    def of_BoolOp(self, node: ast.BoolOp) -> Expr:
        parts = [self.expression(each) for each in node.values]
        op = "and" if isinstance(node.op, ast.And) else "or"
        kinds = {each.type for each in parts}
        if kinds == {BOOL}:
            return self.boolean(op, parts, node)
        if len(kinds) > 1 or parts[0].type.kind not in ("int", "float", "text"):
            self.fail(node, f"'{op}' of {' and '.join(sorted(map(str, kinds)))} has no one type", "compare each, or use it in a condition")
        found = parts[0]
        for each in parts[1:]:
            found = Expr("or_value" if op == "or" else "and_value", found.type, (found, each), line=node.lineno)
        return found

    def of_IfExp(self, node: ast.IfExp) -> Expr:
        test, body, orelse = self.condition(node.test), self.expression(node.body), self.expression(node.orelse)
        if {body.type, orelse.type} == {NONE, VERDICT}:
            return Expr("choose", VERDICT, (test, body, orelse), line=node.lineno)
        body, orelse = self.as_text(body), self.as_text(orelse)
        if body.type != orelse.type or body.type.kind not in ("int", "float", "bool", "text", "verdict"):
            hint = "write both as floats, as 0.0" if {body.type, orelse.type} == {INT, FLOAT} else "both must be of one type"
            self.fail(node, f"{body.type} if ... else {orelse.type}", hint)
        return Expr("choose", body.type, (test, body, orelse), line=node.lineno)

    @staticmethod
    def as_text(value: Expr) -> Expr:
        return Expr("const", TEXT, data=value.type.detail, line=value.line) if value.type.kind == "field" else value

    # ---- comparisons -------------------------------------------------------------------------------------------------

    def of_Compare(self, node: ast.Compare) -> Expr:
        left = self.as_text(self.expression(node.left))
        if len(node.ops) == 1:
            return self.comparison(node, node.ops[0], left, node.comparators[0])
        if any(isinstance(each, (ast.In, ast.NotIn)) for each in node.ops):
            self.fail(node, "'in' within a chain of comparisons", "use 'and'")
        values = [left, *(self.as_text(self.expression(each)) for each in node.comparators)]
        ops = [COMPARISONS[type(each)] for each in node.ops]
        for op, first, second in zip(ops, values, values[1:], strict=False):
            self.comparable(node, op, first, second)
        return Expr("chain", BOOL, tuple(values), ops, node.lineno)

    def comparison(self, node: ast.Compare, op: ast.cmpop, left: Expr, right_node: ast.expr) -> Expr:
        if isinstance(op, (ast.In, ast.NotIn)):
            found = self.membership(node, left, right_node)
            return Expr("not", BOOL, (found,), line=node.lineno) if isinstance(op, ast.NotIn) else found
        right = self.as_text(self.expression(right_node))
        self.comparable(node, COMPARISONS[type(op)], left, right)
        return Expr("chain", BOOL, (left, right), [COMPARISONS[type(op)]], node.lineno)

    def comparable(self, node: ast.AST, op: str, left: Expr, right: Expr) -> None:
        numbers = left.type.kind in NUMBERS and right.type.kind in NUMBERS
        if not numbers and not (left.type == right.type and (left.type == TEXT or (left.type == BOOL and op in ("==", "!=")))):
            self.fail(node, f"{left.type} {op} {right.type} cannot be compared", self.conversion(left, right))

    def membership(self, node: ast.Compare, left: Expr, right_node: ast.expr) -> Expr:
        if isinstance(right_node, (ast.Tuple, ast.List, ast.Set)):
            values = [self.as_text(self.expression(each)) for each in right_node.elts]
            if not values:
                self.fail(right_node, "'in' nothing", "write False")
            for each in values:
                self.comparable(node, "==", left, each)
            return Expr("among", BOOL, (left, *values), line=node.lineno)
        right = self.expression(right_node)
        if right.type.kind == "fields":
            if left.op != "const" or left.type != TEXT:
                self.fail(node, "'in' Fields of what is no constant", "the name of a loop over Fields")
            return self.constant(node, left.data in right.type.detail)
        right = self.as_text(right)
        if right.type.kind == "metadata" and left.type == TEXT:
            self.note_metadata(left)
            return Expr("in_metadata", BOOL, (left,), line=node.lineno)
        if (left.type, right.type) in ((TEXT, TEXT), (TEXT, TEXTS), (INT, INTS)):
            return Expr(f"in_{right.type.kind}", BOOL, (left, right), line=node.lineno)
        self.fail(node, f"{left.type} in {right.type} cannot be told", "texts in texts, values in lists of the configuration, keys in call.metadata")

    def note_metadata(self, key: Expr) -> None:
        self.program.reads.setdefault(f"metadata.{key.data}" if key.op == "const" else "metadata.*")

    # ---- texts -------------------------------------------------------------------------------------------------------

    def of_JoinedStr(self, node: ast.JoinedStr) -> Expr:
        parts = []
        for each in node.values:
            value = self.expression(each.value if isinstance(each, ast.FormattedValue) else each)
            parts.append(self.printable(each, value))
        return Expr("join", TEXT, tuple(parts), line=node.lineno)

    def printable(self, node: ast.AST, value: Expr) -> Expr:
        value = self.as_text(value)
        if value.type.kind not in ("int", "float", "bool", "text"):
            self.fail(node, f"{value.type} cannot be written as text", "name one of its fields")
        return value
