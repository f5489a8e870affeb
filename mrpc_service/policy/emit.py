"""From IR to C. Each expression becomes statements that leave its value in a fresh local, so the order is Python's, and a fault
can leave the function wherever it comes. No text of the author reaches the C but as escaped bytes and numbers."""

from __future__ import annotations

from pathlib import Path

from mrpc_service.policy.emit_expr import ExpressionEmitter, c_type
from mrpc_service.policy.ir import Function, Stmt
from mrpc_service.policy.program import Program
from mrpc_service.policy.schema import BOOLEAN, ENUM, SIGNED_32, UNSIGNED_32, UNSIGNED_64, FieldLayout
from mrpc_service.policy.types import FLOAT, INT, NONE, TEXT, VERDICT

HERE = Path(__file__).parent


def abi_header() -> str:
    """Of the daemon that this compiler came with: installed beside this file, or in the tree."""
    for path in (HERE / "abi.h", HERE.parents[1] / "native" / "dataplane" / "policy" / "abi.h"):
        if path.exists():
            return path.read_text()
    raise FileNotFoundError(f"{HERE / 'abi.h'} is missing; reinstall")


def emit(program: Program) -> str:
    """The whole C text."""
    bodies = [FunctionEmitter(program, each) for each in program.functions]
    texts = [each.run() for each in bodies]
    lines = []
    if any(each.makes_text for each in bodies):
        lines.append("#define MP_MAKES_TEXT")
    if any(each.makes_float_text for each in bodies):
        lines.append("#define MP_MAKES_FLOAT_TEXT")
    lines += [abi_header(), (HERE / "runtime.h").read_text()]
    lines.append('MP_EXPORT const uint32_t mrpc_policy_abi = MRPC_POLICY_ABI;\n')
    return "\n".join(lines + texts)


class FunctionEmitter(ExpressionEmitter):
    def __init__(self, program: Program, function: Function):
        super().__init__(function)
        self.program = program

    def run(self) -> str:
        function = self.function
        self.block(function.body)
        body, self.lines = self.lines, []
        self.head()
        for name, type_ in function.locals.items():
            self.put(f"{c_type(type_)} {name} = {'{0}' if c_type(type_).startswith('mrpc_') else '0'}; (void){name};")
        tail = "  return MRPC_FORWARD;\n}\n" if function.hook else "  return 0;\n}\n"
        if not function.hook and function.result == VERDICT:
            tail = "  *out = MRPC_FORWARD;\n" + tail
        head, self.lines = self.lines, []
        return "\n".join([self.opening(), *head, *body]) + "\n" + tail

    def opening(self) -> str:
        function = self.function
        if function.hook:
            return f"MP_EXPORT int32_t {function.name}(mrpc_frame* f) {{"
        parameters = ["mp_x* x", *(f"{c_type(type_)} {name}" for name, type_ in function.parameters)]
        if function.result != NONE:
            parameters.append(f"{c_type(function.result)}* out")
        return f"static int32_t {function.name}({', '.join(parameters)}) {{"

    def head(self) -> None:
        if not self.function.hook:
            self.put("mrpc_frame* const f = x->f; (void)f;")
            return
        self.put("mp_x run, *const x = &run;")
        self.put("run.f = f; run.fuel = MP_FUEL; run.used = 0;")
        if self.root_bytes:
            self.put(f"if (f->image_bytes < {self.root_bytes}u) return mp_fault(x, MRPC_FAULT_BOUNDS, {self.function.line});")

    # ---- statements --------------------------------------------------------------------------------------------------

    def block(self, body: list[Stmt]) -> None:
        for each in body:
            getattr(self, f"s_{each.op}")(each)

    def nested(self, opening: str, body: list[Stmt], closing: str = "}") -> None:
        self.put(opening)
        self.depth += 1
        self.block(body)
        self.depth -= 1
        self.put(closing)

    def s_do(self, statement: Stmt) -> None:
        self.value(statement.args[0])

    def s_assign(self, statement: Stmt) -> None:
        self.put(f"{statement.data} = {self.value(statement.args[0])};")

    def s_set_state(self, statement: Stmt) -> None:
        value, cell = self.value(statement.args[0]), statement.data
        guard = f"if (f->rows[{cell.scope}]) " if self.function.upgrade else ""
        self.put(f"{guard}{self.cell(cell)} = {value};")

    def s_set_field(self, statement: Stmt) -> None:
        value, (index, layout) = self.value(statement.args[0]), statement.data
        kind = statement.args[0].type
        self.in_range(value, layout, statement.line)
        member = "text" if kind == TEXT else "number" if kind == FLOAT else "integer"
        name = self.name()
        self.put(f"mrpc_value {name} = {{0}};")
        self.put(f"{name}.{member} = {value};")
        self.attempt(f"f->host->set_field(f, {index}u, &{name})", statement.line)

    def in_range(self, value: str, layout: FieldLayout, line: int) -> None:
        """A value that the field cannot hold is an overflow, never cut."""
        if layout.value_type != INT or layout.kind == BOOLEAN:
            return
        test = ""
        if layout.kind in SIGNED_32 or layout.kind == ENUM:
            test = f"{value} != (int32_t){value}"
        elif layout.kind in UNSIGNED_32:
            test = f"{value} != (int64_t)(uint32_t){value}"
        elif layout.kind in UNSIGNED_64:
            test = f"{value} < 0"
        if test:
            self.put(f"if ({test}) return mp_fault(x, MRPC_FAULT_OVERFLOW, {line});")

    def s_if(self, statement: Stmt) -> None:
        test = self.value(statement.args[0])
        body, orelse = statement.bodies
        self.nested(f"if ({test}) {{", body, "} else {" if orelse else "}")
        if orelse:
            self.depth += 1
            self.block(orelse)
            self.depth -= 1
            self.put("}")

    def s_return(self, statement: Stmt) -> None:
        value = self.value(statement.args[0])
        if self.function.hook:
            self.put(f"return {value if statement.args[0].type == VERDICT else 'MRPC_FORWARD'};")
            return
        if self.function.result != NONE:
            self.put(f"*out = {value or 'MRPC_FORWARD'};")
        self.put("return 0;")

    def s_break(self, statement: Stmt) -> None:
        self.put("break;" if statement.data == "c" else f"goto {statement.data}_end;")

    def s_continue(self, statement: Stmt) -> None:
        self.put("continue;" if statement.data == "c" else f"goto {self.passes[statement.data]};")

    # ---- loops: each turn costs a step --------------------------------------------------------------------------------

    def turn(self, statement: Stmt) -> None:
        self.attempt("mp_charge(x, 1)", statement.line)

    def loop(self, statement: Stmt, opening: str, element: str) -> None:
        self.put(opening)
        self.depth += 1
        self.turn(statement)
        if element:
            self.put(element)
        self.block(statement.bodies[0])
        self.depth -= 1
        self.put("}")

    def s_for_range(self, statement: Stmt) -> None:
        target, (start, stop, step) = statement.data
        i = self.name()
        order = "<" if step > 0 else ">"
        self.loop(statement, f"for (int64_t {i} = {start}ll; {i} {order} {stop}ll; {i} += {step}ll) {{", f"{target} = {i};")

    def s_for_list(self, statement: Stmt) -> None:
        target, _ = statement.data
        items, i = self.value(statement.args[0]), self.name()
        element = "int64_t" if statement.args[0].type.kind == "ints" else "mrpc_text"
        self.loop(statement, f"for (uint64_t {i} = 0; {i} < {items}.count; {i}++) {{", f"{target} = ((const {element}*){items}.items)[{i}];")

    def s_for_array(self, statement: Stmt) -> None:
        target, layout = statement.data
        items, i = self.value(statement.args[0]), self.name()
        self.put(f"for (uint64_t {i} = 0; {i} < {items}.count; {i}++) {{")
        self.depth += 1
        self.turn(statement)
        self.put(f"{target} = {self.element(items, i, layout, statement.line)};")
        self.block(statement.bodies[0])
        self.depth -= 1
        self.put("}")

    def s_unrolled(self, statement: Stmt) -> None:
        for body in statement.bodies:
            label = f"{statement.data}_{self.name()}"
            self.passes[statement.data] = label
            self.put("{")
            self.depth += 1
            self.turn(statement)
            self.block(body)
            self.depth -= 1
            self.put("}")
            self.put(f"{label}: __attribute__((unused));")
        self.put(f"{statement.data}_end: __attribute__((unused));")
