"""Constant expressions: of the module, of defaults, of declarations' arguments. Evaluated with limits, never by Python's eval."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from mrpc_service.policy.source import Source

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
POWER_MAX = 64
TEXT_BYTES_MAX = 2048

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: operator.pow,
}


class Constants:
    def __init__(self, source: Source):
        self.source = source
        self.values: dict[str, Any] = {}

    def evaluate(self, node: ast.expr) -> Any:
        """An int, float, bool, str, or a list of these. PolicyError for what is not constant."""
        if isinstance(node, ast.Constant):
            return check_constant(self.source, node, node.value)
        if isinstance(node, ast.Name) and node.id in self.values and not isinstance(self.values[node.id], dict):
            return self.values[node.id]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self.values.get(node.value.id)
            if isinstance(module, dict) and node.attr in module:
                return module[node.attr]
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self.evaluate(each) for each in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self.number(node.operand)
            return check_constant(self.source, node, -value if isinstance(node.op, ast.USub) else value)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return self.binary(node)
        self.source.fail(node, "not a constant", "numbers, texts, lists of them, and constants of this file")

    def number(self, node: ast.expr) -> Any:
        value = self.evaluate(node)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.source.fail(node, "not a number", "constants are computed from numbers")
        return value

    def binary(self, node: ast.BinOp) -> Any:
        left, right = self.number(node.left), self.number(node.right)
        if isinstance(node.op, ast.Pow) and (not isinstance(right, int) or not 0 <= right <= POWER_MAX):
            self.source.fail(node, f"a power that is not a constant from 0 to {POWER_MAX}", "multiply")
        try:
            return check_constant(self.source, node, fold_constants(type(node.op), left, right))
        except (ZeroDivisionError, OverflowError) as error:
            self.source.fail(node, f"cannot be computed: {error}", "change the constant")


def fold_constants(op: type[ast.operator], left: Any, right: Any) -> Any:
    """As the compiled form computes it: quotients of floats, powers by multiplication. ZeroDivisionError, OverflowError."""
    if op is ast.Pow:
        found = type(left)(1)
        for _ in range(right):
            found *= left
        return found
    return float(left) / float(right) if op is ast.Div else OPERATORS[op](left, right)


def check_constant(source: Source, node: ast.AST, value: Any) -> Any:
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            source.fail(node, "an int that does not fit 64 bits", "use a float")
        return value
    if isinstance(value, str):
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            source.fail(node, "a text that is not UTF-8", "remove the lone surrogate")
        if size > TEXT_BYTES_MAX:
            source.fail(node, f"a text of more than {TEXT_BYTES_MAX} bytes", "shorten it")
        return value
    source.fail(node, f"a constant of type {type(value).__name__}", "int, float, bool and str are in the language")
