"""A policy's syntax tree, changed so that CPython runs it with the language's rules: every operation that can fault, or means
something else in Python, becomes a call of the machine (`__machine__`), with its line."""

from __future__ import annotations

import ast

from mrpc_service.policy.source import Source

FUNCTIONS = {"min", "max", "abs", "int", "float", "bool", "str", "len", "round", "hash", "forward", "deny", "delay", "route", "random", "log", "sqrt",
             "key", "verify_token"}
MACHINE = "__machine__"


def instrument(source: Source) -> ast.Module:
    """The class with its methods alone; `source` has been declared, so it is in the subset. Names: the machine, Policy, constants."""
    found = next(each for each in ast.parse(source.text).body if isinstance(each, ast.ClassDef))
    methods = [_Rewriter().function(each) for each in found.body if isinstance(each, ast.FunctionDef)]
    found.body = list[ast.stmt](methods)
    found.bases = []
    return ast.fix_missing_locations(ast.Module([found], []))


class _Rewriter(ast.NodeTransformer):
    def function(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = [self.visit(each) for each in node.body]
        node.returns = None
        for each in node.args.args:
            each.annotation = None
        return node

    def machine(self, name: str, node: ast.expr | ast.stmt, *arguments: ast.expr, keywords: list[ast.keyword] | None = None) -> ast.Call:
        function = ast.Attribute(ast.Name(MACHINE, ast.Load()), name, ast.Load())
        return ast.copy_location(ast.Call(function, [ast.Constant(node.lineno), *arguments], keywords or []), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        return self.machine("binary", node, ast.Constant(type(node.op).__name__), self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.USub):
            return self.machine("negative", node, operand)
        return operand if isinstance(node.op, ast.UAdd) else ast.UnaryOp(node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        left, right = self.visit(node.left), [self.visit(each) for each in node.comparators]
        right = [ast.Tuple(each.elts, ast.Load()) if isinstance(each, (ast.List, ast.Set)) else each for each in right]
        ops = [type(each).__name__ for each in node.ops]
        if ops[0] in ("In", "NotIn"):
            found = self.machine("contains", node, left, right[0])
            return ast.UnaryOp(ast.Not(), found) if ops[0] == "NotIn" else found
        later = [ast.Lambda(ast.arguments([], [], None, [], [], None, []), each) for each in right]
        names = ast.Constant(tuple(ops))
        return self.machine("chain", node, names, left, *later)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        values = [each.value if isinstance(each, ast.FormattedValue) else each for each in node.values]
        return self.machine("join", node, *(self.visit(each) for each in values))

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "math":
            return node
        return self.machine("get", node, self.visit(node.value), ast.Constant(node.attr))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self.machine("item", node, self.visit(node.value), self.visit(node.slice))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        keywords = [ast.keyword(each.arg, self.visit(each.value)) for each in node.keywords]
        if isinstance(node.func, ast.Attribute):
            arguments = [self.visit(each) for each in node.args]
            return self.machine("invoke", node, self.visit(node.func.value), ast.Constant(node.func.attr), *arguments, keywords=keywords)
        assert isinstance(node.func, ast.Name)
        if node.func.id == "has":
            return self.has(node, node.args[0])
        if node.func.id in FUNCTIONS:
            return self.machine(f"call_{node.func.id}", node, *(self.visit(each) for each in node.args), keywords=keywords)
        return ast.Call(node.func, [self.visit(each) for each in node.args], keywords)  # range

    def has(self, node: ast.Call, place: ast.expr) -> ast.AST:
        if isinstance(place, ast.Attribute):
            return self.machine("has", node, self.visit(place.value), ast.Constant(place.attr))
        assert isinstance(place, ast.Subscript)
        return self.machine("has", node, self.visit(place.value), self.visit(place.slice))

    def visit_For(self, node: ast.For) -> ast.AST:
        over = self.machine("turns", node, self.visit(node.iter))
        return ast.copy_location(ast.For(node.target, over, [self.visit(each) for each in node.body], []), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return self.store(node.targets[0], self.visit(node.value), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return self.store(node.target, self.visit(node.value), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        load = ast.parse(ast.unparse(node.target), mode="eval").body
        for each in ast.walk(load):
            ast.copy_location(each, node.target)
        return self.store(node.target, self.visit(ast.copy_location(ast.BinOp(load, node.op, node.value), node)), node)

    def store(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> ast.AST:
        if isinstance(target, ast.Attribute):
            made = self.machine("set", node, value, self.visit(target.value), ast.Constant(target.attr))
        elif isinstance(target, ast.Subscript):
            made = self.machine("set", node, value, self.visit(target.value), self.visit(target.slice))
        else:
            return ast.copy_location(ast.Assign([target], value), node)
        return ast.copy_location(ast.Expr(made), node)
