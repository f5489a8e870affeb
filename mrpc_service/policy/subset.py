"""Which of Python's syntax a policy may use. What is refused here never reaches the rest of the compiler."""

from __future__ import annotations

import ast

from mrpc_service.policy.errors import PolicyError, Problem
from mrpc_service.policy.source import Source

EXPRESSIONS = (
    ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare,
    ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.Tuple, ast.List, ast.Set,
)
OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
)
STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.If, ast.For, ast.Break, ast.Continue, ast.Pass, ast.Expr)
CONTEXTS = (ast.Load, ast.Store)
IN_FUNCTIONS = EXPRESSIONS + OPERATORS + STATEMENTS + CONTEXTS

HINTS: dict[type[ast.AST], tuple[str, str]] = {
    ast.While: ("'while' may never end", "use 'for ... in range(CONSTANT)' with 'break'"),
    ast.Try: ("there are no exceptions", "test before you compute; on_fault says what a fault does"),
    ast.Raise: ("there are no exceptions", "return deny(...)"),
    ast.With: ("'with' is not in the language", "state of one policy is never shared while a hook runs"),
    ast.Lambda: ("'lambda' is not in the language", "write a method of the class"),
    ast.ListComp: ("comprehensions are not in the language", "use a 'for' loop"),
    ast.SetComp: ("comprehensions are not in the language", "use a 'for' loop"),
    ast.DictComp: ("comprehensions are not in the language", "use a 'for' loop"),
    ast.GeneratorExp: ("generators are not in the language", "use a 'for' loop"),
    ast.Dict: ("there are no dicts", "use state with a scope"),
    ast.Import: ("no import within a function", "import at the top of the file"),
    ast.ImportFrom: ("no import within a function", "import at the top of the file"),
    ast.FunctionDef: ("no function within a function", "write a method of the class"),
    ast.AsyncFunctionDef: ("hooks are not async", "use 'def'"),
    ast.Await: ("hooks do not wait", "return delay(ns)"),
    ast.ClassDef: ("no class within a class", "one policy is one class in one file"),
    ast.NamedExpr: ("':=' is not in the language", "assign in a line of its own"),
    ast.Global: ("'global' is not in the language", "use state(per=\"global\")"),
    ast.Is: ("'is' is not in the language", "use '==', or has(field)"),
    ast.IsNot: ("'is' is not in the language", "use '!=', or has(field)"),
    ast.Assert: ("'assert' is not in the language", "return deny(...)"),
    ast.Delete: ("'del' is not in the language", "assign the initial value"),
    ast.Starred: ("'*' arguments are not in the language", "write the arguments out"),
    ast.Slice: ("slices are not in the language", "use .startswith or .endswith"),
    ast.Invert: ("'~' is not in the language", "use 'not', or arithmetic"),
    ast.MatMult: ("'@' is not in the language", "use '*'"),
    ast.Match: ("'match' is not in the language", "use 'if' and 'elif'"),
}
BITS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)


def refusal(node: ast.AST) -> tuple[str, str]:
    if isinstance(node, BITS):
        return "bit operations are not in the language", "use '*', '//' and '%', or 'and' and 'or'"
    return HINTS.get(type(node), (f"{type(node).__name__} is not in the language", "see docs/reference/policy-language.md"))


def check(source: Source, functions: list[ast.FunctionDef]) -> None:
    """PolicyError with every forbidden construct of these functions."""
    problems: list[Problem] = []
    for function in functions:
        _signature(source, function, problems)
        for statement in function.body:
            _walk(source, statement, statement.lineno, problems)
    if problems:
        raise PolicyError(problems[:20])


def _walk(source: Source, node: ast.AST, line: int, problems: list[Problem]) -> None:
    where = node if hasattr(node, "lineno") else line
    if not isinstance(node, IN_FUNCTIONS):
        problems.append(source.problem(where, *refusal(node)))
        return
    if isinstance(node, ast.For) and node.orelse:
        problems.append(source.problem(node.orelse[0], "'else' of a loop is not in the language", "use a flag"))
    if isinstance(node, ast.FormattedValue) and (node.format_spec is not None or node.conversion != -1):
        problems.append(source.problem(where, "f-strings take no format", "write {value}, and round() or int() it before"))
        return
    for child in ast.iter_child_nodes(node):
        _walk(source, child, getattr(node, "lineno", line), problems)


def _signature(source: Source, function: ast.FunctionDef, problems: list[Problem]) -> None:
    arguments = function.args
    if function.decorator_list:
        problems.append(source.problem(function, "decorators are not in the language", "remove it"))
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs or arguments.defaults:
        problems.append(source.problem(function, f"{function.name}: parameters are plain names", "no defaults, no '*'"))
    if not arguments.args or arguments.args[0].arg != "self":
        problems.append(source.problem(function, f"{function.name}: the first parameter must be 'self'", "write def name(self, ...)"))
