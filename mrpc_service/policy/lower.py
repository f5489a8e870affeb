"""From a function's syntax tree to typed statements. Every name is resolved, every type known, or the program is refused."""

from __future__ import annotations

import ast

from mrpc_service.policy import language
from mrpc_service.policy.expressions import Expressions
from mrpc_service.policy.ir import Expr, Function, Stmt
from mrpc_service.policy.program import INSTANCES_MAX, Program
from mrpc_service.policy.schema import BYTES, ENUM
from mrpc_service.policy.spec import OldField
from mrpc_service.policy.types import ANNOTATED, FLOAT, INT, NONE, TEXT, VERDICT, Type

RANGE_MAX = 1 << 31
HOLDS = {"int", "float", "bool", "text", "message", "token"}  # types that a local name can have
TAKEN = {*language.EXPORTS, "min", "max", "abs", "int", "float", "bool", "str", "len", "round", "range", "self"}


def lower(program: Program) -> list[OldField]:
    """Fills in program.functions; returns what upgrade() reads of the version before. PolicyError."""
    old: list[OldField] = []
    for hook, node in program.declared.hooks.items():
        if hook == "upgrade":
            if not program.old or not _old_reads(program, node):
                continue  # there is nothing of what it reads: state moves by its names alone
            old.extend(field for _, field in program.old.values())
        lower_hook(program, hook, node)
    return old


def _old_reads(program: Program, node: ast.FunctionDef) -> bool:
    name = node.args.args[1].arg
    read = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == name}
    return bool(read) and read <= program.old.keys()


def lower_hook(program: Program, hook: str, node: ast.FunctionDef) -> None:
    types: dict[str, list[Type]] = {
        "request": [Type("call"), Type("root", "request")], "reply": [Type("call"), Type("root", "reply")],
        "end": [Type("call")], "upgrade": [Type("old")],
    }
    symbol = "mrpc_upgrade" if hook == "upgrade" else f"mrpc_on_{hook}"
    lowering = FunctionLowering(program, node, hook, types[hook], symbol)
    function = lowering.run()
    if function.result not in ((NONE, VERDICT) if hook in ("request", "reply") else (NONE,)):
        lowering.fail(lowering.result_at or node, f"{node.name} returns {function.result}",
                      "return a verdict, or nothing" if hook in ("request", "reply") else "it returns nothing")
    function.hook = hook
    program.functions.append(function)


class FunctionLowering(Expressions):
    def __init__(self, program: Program, node: ast.FunctionDef, hook: str, types: list[Type], symbol: str):
        super().__init__(program, hook)
        self.node = node
        self.function = Function(symbol, [], NONE, line=node.lineno, upgrade=hook == "upgrade")
        self.result: Type | None = None
        self.result_at: ast.AST | None = None
        self.loops: list[str] = []  # "c" or the label of an unrolled one
        for argument, type_ in zip(node.args.args[1:], types, strict=True):
            self.parameter(argument, type_)

    def parameter(self, argument: ast.arg, type_: Type) -> None:
        if argument.arg in TAKEN or argument.arg in self.names:
            self.fail(argument, f"{argument.arg!r} has a meaning already", "choose another name")
        if type_.kind in HOLDS or type_.kind in ("array", "ints", "texts"):
            name = f"p{len(self.function.parameters)}"
            self.function.parameters.append((name, type_))
            self.names[argument.arg] = Expr("local", type_, data=name, line=argument.lineno)
        else:
            self.names[argument.arg] = Expr("static", type_, line=argument.lineno)
        self.assigned.add(argument.arg)

    def run(self) -> Function:
        self.function.body = self.block(self.node.body)
        self.function.result = self.result or NONE
        if self.function.result not in (NONE, VERDICT) and not self.left:
            self.fail(self.node, f"{self.node.name} returns {self.function.result}, but not on every path", "return at its end too")
        return self.function

    # ---- statements --------------------------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt]) -> list[Stmt]:
        out: list[Stmt] = []
        self.left = False
        for node in body:
            self.program.spend(node)
            out.extend(getattr(self, f"on_{type(node).__name__}")(node))
        return out

    def on_Pass(self, node: ast.Pass) -> list[Stmt]:
        return []

    def on_Expr(self, node: ast.Expr) -> list[Stmt]:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return []
        value = self.expression(node.value)
        if not isinstance(node.value, ast.Call):
            self.fail(node, "a value that nobody uses", "assign or return it")
        if value.type == VERDICT and value.op != "call":
            self.fail(node, "a verdict that is not returned has no effect", "write 'return' in front of it")
        return [Stmt("do", (value,), line=node.lineno)]

    def on_Return(self, node: ast.Return) -> list[Stmt]:
        nothing = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
        value = Expr("none", NONE, line=node.lineno) if nothing else self.expression(node.value)  # type: ignore[arg-type]
        if value.type.kind not in {*HOLDS, "none", "verdict"} or value.type.kind == "root":
            self.fail(node, f"{value.type} cannot be returned", "return a number, a text, or a verdict")
        self.unify_result(node, value.type)
        self.left = True
        return [Stmt("return", (value,), line=node.lineno)]

    def unify_result(self, node: ast.AST, found: Type) -> None:
        if self.result is None or {self.result, found} == {NONE, VERDICT}:
            self.result = VERDICT if VERDICT in (self.result, found) else found
        elif self.result != found:
            hint = "return the same type everywhere" + (", as float(...)" if {self.result, found} == {INT, FLOAT} else "")
            self.fail(node, f"returns {found} here, and {self.result} before", hint)
        self.result_at = self.result_at or node

    def on_If(self, node: ast.If) -> list[Stmt]:
        test = self.condition(node.test)
        before = set(self.assigned)
        body = self.block(node.body)
        after, left = self.assigned, self.left
        self.assigned = set(before)
        orelse = self.block(node.orelse)
        if left and self.left:
            self.assigned = after | self.assigned
        elif left or self.left:
            self.assigned = self.assigned if left else after
            left = self.left = False
        else:
            self.assigned &= after
        self.left = left and self.left
        return [Stmt("if", (test,), bodies=(body, orelse), line=node.lineno)]

    def on_Break(self, node: ast.Break) -> list[Stmt]:
        self.left = True
        return [Stmt("break", data=self.loops[-1], line=node.lineno)]

    def on_Continue(self, node: ast.Continue) -> list[Stmt]:
        self.left = True
        return [Stmt("continue", data=self.loops[-1], line=node.lineno)]

    # ---- loops -------------------------------------------------------------------------------------------------------

    def on_For(self, node: ast.For) -> list[Stmt]:
        if not isinstance(node.target, ast.Name):
            self.fail(node.target, "a loop has one name", "for NAME in ...")
        if isinstance(node.iter, ast.Call) and isinstance(node.iter.func, ast.Name) and node.iter.func.id == "range":
            return self.for_range(node, node.target.id)
        over = self.expression(node.iter)
        if over.type.kind == "fields":
            return self.for_fields(node, node.target.id, over.type.detail)
        if over.type.kind in ("ints", "texts"):
            return self.loop(node, node.target.id, INT if over.type.kind == "ints" else TEXT, "for_list", (over,), None)
        if over.type.kind == "array":
            layout, path = over.type.detail
            self.note_blob(layout)
            element = Type("message", (self.message_layout(layout), path)) if layout.message else layout.value_type
            return self.loop(node, node.target.id, element, "for_array", (over,), layout)
        self.fail(node.iter, f"a loop over {over.type} is not bounded",
                  "loop over a repeated field, a list of the configuration, Fields, or range(CONSTANT)")

    def for_range(self, node: ast.For, name: str) -> list[Stmt]:
        assert isinstance(node.iter, ast.Call)
        bounds = []
        for each in node.iter.args:
            value = self.expression(each)
            if value.op != "const" or value.type != INT or node.iter.keywords:
                self.fail(each, "the bound of a loop is not constant", "range(CONSTANT), with 'if' and 'break' within")
            bounds.append(value.data)
        if not 1 <= len(bounds) <= 3 or any(abs(each) > RANGE_MAX for each in bounds) or (len(bounds) == 3 and bounds[2] == 0):
            self.fail(node.iter, "range() of these numbers", f"one to three ints up to {RANGE_MAX}, and a step that is not 0")
        start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        return self.loop(node, name, INT, "for_range", (), (start, stop, step))

    def loop(self, node: ast.For, name: str, element: Type, op: str, args: tuple[Expr, ...], data: object) -> list[Stmt]:
        before = set(self.assigned)
        target = self.bind(node.target, name, element)
        body = self.loop_body(node, "c")
        self.assigned, self.left = before, False  # it may not run once
        return [Stmt(op, args, (target.data, data), (body,), node.lineno)]

    def loop_body(self, node: ast.For, label: str) -> list[Stmt]:
        self.loops.append(label)
        body = self.block(node.body)
        self.loops.pop()
        return body

    def for_fields(self, node: ast.For, name: str, paths: tuple[str, ...]) -> list[Stmt]:
        if name in TAKEN or (name in self.names and self.names[name].type.kind != "field"):
            self.fail(node.target, f"{name!r} has a meaning already", "choose another name")
        before = set(self.assigned)
        bodies = []
        label = self.label()
        for each in paths:
            self.assigned = before | {name}
            self.names[name] = Expr("static", Type("field", each), line=node.lineno)
            bodies.append(self.loop_body(node, label))
        if not paths:  # still checked, as far as it can be without a field
            self.names.pop(name, None)
        self.assigned, self.left = before, False
        return [Stmt("unrolled", data=label, bodies=tuple(bodies), line=node.lineno)]

    # ---- assignment --------------------------------------------------------------------------------------------------

    def on_Assign(self, node: ast.Assign) -> list[Stmt]:
        if len(node.targets) != 1:
            self.fail(node, "several targets of one assignment", "write one line for each")
        return self.assign(node.targets[0], self.expression(node.value), node)

    def on_AnnAssign(self, node: ast.AnnAssign) -> list[Stmt]:
        name = ast.unparse(node.annotation)
        if node.value is None or name not in ANNOTATED or not isinstance(node.target, ast.Name):
            self.fail(node, "not an assignment with a type of the language", f"NAME: TYPE = VALUE; types are {', '.join(ANNOTATED)}")
        value = self.expression(node.value)
        if value.type != ANNOTATED[name]:
            self.fail(node, f"{value.type} is assigned to a name of type {name}", f"{name}(...)" if name != "bool" else "compare it")
        return self.assign(node.target, value, node)

    def on_AugAssign(self, node: ast.AugAssign) -> list[Stmt]:
        load = ast.copy_location({ast.Name: self.copy_name, ast.Attribute: self.copy_attribute, ast.Subscript: self.copy_subscript}
                                 [type(node.target)](node.target), node.target)
        value = ast.copy_location(ast.BinOp(load, node.op, node.value), node)
        return self.assign(node.target, self.expression(value), node)

    @staticmethod
    def copy_name(target: ast.expr) -> ast.expr:
        assert isinstance(target, ast.Name)
        return ast.Name(target.id, ast.Load())

    @staticmethod
    def copy_attribute(target: ast.expr) -> ast.expr:
        assert isinstance(target, ast.Attribute)
        return ast.Attribute(target.value, target.attr, ast.Load())

    @staticmethod
    def copy_subscript(target: ast.expr) -> ast.expr:
        assert isinstance(target, ast.Subscript)
        return ast.Subscript(target.value, target.slice, ast.Load())

    def assign(self, target: ast.expr, value: Expr, node: ast.stmt) -> list[Stmt]:
        if isinstance(target, ast.Name):
            if value.type.kind not in HOLDS:
                self.fail(node, f"{value.type} cannot be kept in a local name", "use it where it stands")
            local = self.bind(target, target.id, value.type)
            return [Stmt("assign", (value,), local.data, line=node.lineno)]
        if isinstance(target, ast.Attribute):
            owner = self.expression(target.value)
            if owner.type.kind == "self":
                return [self.set_state(target, value)]
        return [self.set_field(target, value)]

    def bind(self, node: ast.AST, name: str, type_: Type) -> Expr:
        """The local of that name; a name has one type throughout a function."""
        if name in TAKEN or name in self.program.declared.constants:
            self.fail(node, f"{name!r} has a meaning already", "choose another name")
        known = self.names.get(name)
        if known is None:
            known = Expr("local", type_, data=f"v{len(self.function.locals)}", line=getattr(node, "lineno", 0))
            self.function.locals[known.data] = type_
            self.names[name] = known
        elif known.op != "local" or not self.same_local(known.type, type_):
            hint = f"{known.type}(...), or another name" if {known.type, type_} == {INT, FLOAT} else "choose another name"
            self.fail(node, f"{name!r} is {known.type} in line {known.line}, and {type_} here", hint)
        if known.type.kind == "message" and known.type != type_:  # another path to the same message
            self.names[name] = known = Expr("local", type_, data=known.data, line=known.line)
        self.assigned.add(name)
        return known

    @staticmethod
    def same_local(known: Type, new: Type) -> bool:
        if known.kind == new.kind == "message":
            return known.detail[0] == new.detail[0]
        return known == new

    def set_state(self, target: ast.Attribute, value: Expr) -> Stmt:
        cell = self.program.cells.get(target.attr)
        if cell is None:
            if target.attr in self.program.declared.members():
                self.fail(target, f"self.{target.attr} is no state, and cannot be changed", f"{target.attr}: int = state(...)")
            self.unknown_member(target)
        wanted = Type(cell.type)
        if wanted == FLOAT and value.type == INT:
            value = self.to_float(value)
        if value.type != wanted:
            self.fail(target, f"{value.type} is assigned to self.{target.attr}, which is {wanted}", f"{wanted}(...)" if wanted != TEXT else "")
        return Stmt("set_state", (value,), cell, line=target.lineno)

    def set_field(self, target: ast.expr, value: Expr) -> Stmt:
        place = self.field_place(target)
        if place is None:
            self.fail(target, "this cannot be assigned to", "assign to local names, state, and the message's fields")
        layout, path, static = place
        if layout.cardinality != "singular" or layout.message or layout.oneof >= 0 or not static:
            what = "one of a oneof" if layout.oneof >= 0 else "not a singular field of its own"
            self.fail(target, f"{path} is {what}", "only singular fields outside of oneofs can be changed")
        wanted = layout.value_type
        if wanted == FLOAT and value.type == INT:
            value = self.to_float(value)
        if value.type != wanted:
            self.fail(target, f"{value.type} is assigned to {path}, which is {'an enum, an int' if layout.kind == ENUM else wanted}",
                      "str(...)" if wanted == TEXT else f"{wanted}(...)")
        if layout.kind == BYTES:
            self.program.reads_bytes = True
        kind = "text" if wanted == TEXT else "float" if wanted == FLOAT else "int"
        index = list(self.program.writes).index(path) if path in self.program.writes else len(self.program.writes)
        self.program.writes.setdefault(path, {"field": path, "kind": kind})  # type: ignore[typeddict-item]
        return Stmt("set_field", (value,), (index, layout), line=target.lineno)

    # ---- methods -----------------------------------------------------------------------------------------------------

    def method(self, node: ast.Call, name: str, arguments: list[Expr]) -> Expr:
        """One function for each tuple of argument types. Fields' names and the like are built in."""
        definition = self.program.declared.methods[name]
        if node.keywords or len(arguments) != len(definition.args.args) - 1:
            self.fail(node, f"self.{name} takes {len(definition.args.args) - 1} values", "give them by position")
        if name in self.program.in_progress:
            self.fail(node, f"self.{name} calls itself", "use a 'for' loop; recursion is not in the language")
        key = (name, self.hook, tuple(each.type for each in arguments))
        if key not in self.program.instances:
            if len(self.program.instances) >= INSTANCES_MAX:
                self.fail(node, f"methods are called with more than {INSTANCES_MAX} combinations of types", "use fewer methods")
            self.program.in_progress.append(name)
            lowering = FunctionLowering(self.program, definition, self.hook, [each.type for each in arguments], self.label())
            function = lowering.run()
            self.program.in_progress.pop()
            self.program.instances[key] = function
            self.program.functions.append(function)
        function = self.program.instances[key]
        passed = tuple(each for each in arguments if each.op != "static")
        return Expr("call", function.result, passed, function.name, node.lineno)
