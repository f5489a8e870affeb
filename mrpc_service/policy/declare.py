"""What a policy's class declares: configuration, state, stores, leases, hooks, helper methods, constants of the module."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from mrpc_service.policy import language, subset
from mrpc_service.policy.constants import Constants
from mrpc_service.policy.errors import PolicyError, near_miss
from mrpc_service.policy.source import Source
from mrpc_service.policy.values import ANNOTATIONS, MISSING, SCOPES, ConfigField, ValueProblem, read_value

HOOKS = {
    "on_request": ("request", ["self", "call", "request"]),
    "on_reply": ("reply", ["self", "call", "reply"]),
    "on_end": ("end", ["self", "call"]),
    "upgrade": ("upgrade", ["self", "old"]),
}
STATE_TYPES = {"int", "float", "bool"}
METHODS_MAX = 64
MEMBERS_MAX = 256


@dataclass(frozen=True)
class StateDecl:
    name: str
    type: str
    per: tuple[str, ...] | str  # scopes, or the name of a Scope field
    initial: float | str
    line: int


@dataclass(frozen=True)
class StoreDecl:
    name: str
    per: tuple[str, ...] | str
    line: int


@dataclass(frozen=True)
class LeaseDecl:
    name: str
    rate: str
    burst: str
    share: str
    line: int


@dataclass
class Declarations:
    name: str
    doc: str
    source: Source
    on_fault: str = "closed"
    config: dict[str, ConfigField] = field(default_factory=dict)
    state: dict[str, StateDecl] = field(default_factory=dict)
    stores: dict[str, StoreDecl] = field(default_factory=dict)
    leases: dict[str, LeaseDecl] = field(default_factory=dict)
    hooks: dict[str, ast.FunctionDef] = field(default_factory=dict)  # by the spec's name: request, reply, end, upgrade
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)

    def members(self) -> set[str]:
        return {*self.config, *self.state, *self.stores, *self.leases, *self.methods}


def declare(source: Source) -> Declarations:
    """PolicyError when the file is no policy, or a declaration of it is wrong."""
    return _Reader(source).run()


class _Reader:
    def __init__(self, source: Source):
        self.source = source
        self.comments = source.comments()
        self.constants = Constants(source)
        self.imported: set[str] = set()
        self.out: Declarations

    def run(self) -> Declarations:
        body = self.source.tree.body
        classes = [each for each in body if isinstance(each, ast.ClassDef)]
        if len(classes) != 1:
            where = classes[1] if len(classes) > 1 else 1
            self.source.fail(where, f"{len(classes)} classes; a policy is one class in one file", "class Name(Policy): ...")
        self.out = Declarations(classes[0].name, ast.get_docstring(classes[0]) or ast.get_docstring(self.source.tree) or "", self.source)
        for statement in body:
            self.top(statement)
        self.out.constants, self.out.imported = self.constants.values, self.imported
        self.references()
        subset.check(self.source, [*self.out.hooks.values(), *self.out.methods.values()])
        return self.out

    # ---- the module --------------------------------------------------------------------------------------------------

    def top(self, node: ast.stmt) -> None:
        if isinstance(node, ast.ImportFrom):
            self.import_from(node)
        elif isinstance(node, ast.Import):
            if [(each.name, each.asname) for each in node.names] != [("math", None)]:
                self.source.fail(node, "import of something else than the language", "from mrpc_service.policy import ...; import math")
            self.constants.values["math"] = {"pi": language.math.pi, "e": language.math.e, "inf": language.math.inf, "tau": language.math.tau}
        elif isinstance(node, ast.ClassDef):
            self.policy_class(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            self.constant(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            self.source.fail(node, f"{subset.refusal(node)[0]} at the top of the file", "there stand imports, constants and one class")

    def import_from(self, node: ast.ImportFrom) -> None:
        known = {"__future__": ["annotations"], "math": ["pi", "e", "inf", "tau"], "mrpc_service.policy": language.EXPORTS}
        names = known.get(node.module or "") if node.level == 0 else None
        if names is None:
            self.source.fail(node, f"import from {node.module!r}", "only of mrpc_service.policy, and constants of math")
        for each in node.names:
            if each.asname is not None:
                self.source.fail(node, "'as' is not in the language", "use the language's names")
            if each.name not in names:
                self.source.fail(node, f"{node.module} has no {each.name!r} for policies", near_miss(each.name, names))
            if node.module == "math":
                self.constants.values[each.name] = getattr(language.math, each.name)
            elif each.name in language.STATUS_CODES:
                self.constants.values[each.name] = language.STATUS_CODES[each.name]
            else:
                self.imported.add(each.name)

    def constant(self, node: ast.Assign | ast.AnnAssign) -> None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if (isinstance(node, ast.Assign) and len(node.targets) != 1) or not isinstance(target, ast.Name) or node.value is None:
            self.source.fail(node, "not a constant", "NAME = value")
        if target.id in self.constants.values or target.id in self.imported or target.id in language.EXPORTS:
            self.source.fail(node, f"{target.id!r} has a meaning already", "choose another name")
        self.constants.values[target.id] = self.constants.evaluate(node.value)

    # ---- the class ---------------------------------------------------------------------------------------------------

    def policy_class(self, node: ast.ClassDef) -> None:
        bases = [each.id if isinstance(each, ast.Name) else "?" for each in node.bases]
        if bases != ["Policy"] or "Policy" not in self.imported or node.keywords or node.decorator_list:
            self.source.fail(node, "not a subclass of Policy alone", f"from mrpc_service.policy import Policy; class {node.name}(Policy):")
        if len(node.body) > MEMBERS_MAX:
            self.source.fail(node, f"more than {MEMBERS_MAX} members", "split it into several policies of one chain")
        for statement in node.body:
            self.member(statement)
        if not self.out.hooks.keys() - {"upgrade"}:
            self.source.fail(node, "no hook", "def on_request(self, call, request): ...")

    def member(self, node: ast.stmt) -> None:
        if isinstance(node, ast.AnnAssign):
            self.annotated(node)
        elif isinstance(node, ast.FunctionDef):
            self.function(node)
        elif isinstance(node, ast.Assign):
            self.option(node)
        elif not isinstance(node, ast.Pass) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            self.source.fail(node, f"{subset.refusal(node)[0]} in the class", "there stand configuration, state and methods")

    def option(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Name) or target.id != "on_fault":
            name = target.id if isinstance(target, ast.Name) else "NAME"
            self.source.fail(node, "a class attribute without a type", f"{name}: int = ..., or a constant before the class")
        value = self.constants.evaluate(node.value)
        if value not in ("open", "closed"):
            self.source.fail(node, "on_fault is neither \"open\" nor \"closed\"", "\"closed\" denies the call when a fault comes")
        self.out.on_fault = value

    def function(self, node: ast.FunctionDef) -> None:
        self.fresh(node, node.name)
        if node.name not in HOOKS:
            if node.name.startswith("on_") or node.name.startswith("__"):
                self.source.fail(node, f"there is no hook {node.name!r}", near_miss(node.name, HOOKS))
            if len(self.out.methods) >= METHODS_MAX:
                self.source.fail(node, f"more than {METHODS_MAX} methods", "split the policy")
            self.out.methods[node.name] = node
            return
        hook, parameters = HOOKS[node.name]
        if len(node.args.args) != len(parameters):
            self.source.fail(node, f"{node.name} takes {len(parameters)} parameters", f"def {node.name}({', '.join(parameters)}):")
        self.out.hooks[hook] = node

    def fresh(self, node: ast.AST, name: str) -> None:
        if name in self.out.members() or any(each.name == name for each in self.out.hooks.values()):
            self.source.fail(node, f"{name!r} is declared twice", "choose another name")
        if name.startswith("_") or name in ("on_fault", "self"):
            self.source.fail(node, f"{name!r} cannot be declared", "choose a name that does not begin with '_'")

    def annotated(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            self.source.fail(node, "not a declaration", "NAME: TYPE = VALUE")
        name, annotation = node.target.id, ast.unparse(node.annotation).strip("'\"")
        self.fresh(node, name)
        call = node.value.func.id if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name) else ""
        if call == "state":
            self.state(node, name, annotation)
        elif call == "replies" or annotation == "Replies":
            if call != "replies" or annotation != "Replies":
                self.source.fail(node, "not a store of replies", f"{name}: Replies = replies(per=...)")
            arguments = self.arguments(node, ["per"])
            self.out.stores[name] = StoreDecl(name, self.scope(node, arguments.get("per", "global")), node.lineno)
        elif call == "lease" or annotation == "Lease":
            self.lease(node, name, annotation, call)
        else:
            self.configuration(node, name, annotation)

    def configuration(self, node: ast.AnnAssign, name: str, annotation: str) -> None:
        if annotation not in ANNOTATIONS:
            self.source.fail(node, f"a field of the configuration cannot be of type {annotation!r}", near_miss(annotation, ANNOTATIONS))
        default: Any = MISSING
        if node.value is not None:
            given = self.constants.evaluate(node.value)
            try:
                default = read_value(annotation, given)
            except ValueProblem as error:
                self.source.fail(node, f"{name}: {error}", f"{name}: {annotation} = {error.example}")
        self.out.config[name] = ConfigField(name, annotation, default, self.comments.get(node.lineno, ""), node.lineno)

    def arguments(self, node: ast.AnnAssign, names: list[str]) -> dict[str, Any]:
        call = node.value
        assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id not in self.imported:
            self.source.fail(node, f"{call.func.id} is not imported", f"from mrpc_service.policy import {call.func.id}")
        if call.args or any(each.arg not in names for each in call.keywords):
            self.source.fail(node, f"{call.func.id}() takes other arguments", f"{call.func.id}({', '.join(n + '=...' for n in names)})")
        return {each.arg or "": self.constants.evaluate(each.value) for each in call.keywords}

    def scope(self, node: ast.AST, given: Any) -> tuple[str, ...] | str:
        if isinstance(given, str) and given not in SCOPES and not given.startswith("metadata:"):
            return given  # the name of a field: looked up when all are known
        try:
            return read_value("Scope", given)
        except ValueProblem as error:
            self.source.fail(node, f"per: {error}", 'per="client", per=["client", "method"], or the name of a Scope field')

    def state(self, node: ast.AnnAssign, name: str, annotation: str) -> None:
        if annotation not in STATE_TYPES:
            self.source.fail(node, f"state cannot be of type {annotation!r}", f"{name}: int | float | bool = state(...)")
        arguments = self.arguments(node, ["per", "initial"])
        initial = arguments.get("initial", 0)
        if not isinstance(initial, (int, float, str)):
            self.source.fail(node, f"{name}: initial is neither a number nor the name of a field", f"{name}: {annotation} = state(initial=0)")
        if not isinstance(initial, str):
            fits = isinstance(initial, bool) == (annotation == "bool") or (annotation == "bool" and initial in (0, 1))
            if not fits or (annotation == "int" and isinstance(initial, float)):
                self.source.fail(node, f"{name}: initial {initial!r} is no {annotation}", f"{name}: {annotation} = state(initial=...)")
        self.out.state[name] = StateDecl(name, annotation, self.scope(node, arguments.get("per", "global")), initial, node.lineno)

    def lease(self, node: ast.AnnAssign, name: str, annotation: str, call: str) -> None:
        example = f'{name}: Lease = lease(rate="FIELD", burst="FIELD", share="FIELD")'
        if call != "lease" or annotation != "Lease":
            self.source.fail(node, "not a lease", example)
        arguments = self.arguments(node, ["rate", "burst", "share"])
        if set(arguments) != {"rate", "burst", "share"} or not all(isinstance(each, str) for each in arguments.values()):
            self.source.fail(node, "a lease names three fields of the configuration", example)
        self.out.leases[name] = LeaseDecl(name, line=node.lineno, **arguments)

    # ---- names of other members ----------------------------------------------------------------------------------------

    def references(self) -> None:
        problems = []
        for each in [*self.out.state.values(), *self.out.stores.values()]:
            if isinstance(each.per, str) and self.annotation(each.per) != "Scope":
                known = [*SCOPES, "metadata:KEY", *(n for n, f in self.out.config.items() if f.annotation == "Scope")]
                problems.append(self.source.problem(each.line, f"there is no scope {each.per!r}", near_miss(each.per, known)))
        for state in self.out.state.values():
            if isinstance(state.initial, str):
                kind = self.annotation(state.initial)
                same = kind == state.type or (kind in ("int", "Duration") and state.type in ("int", "float"))
                if not same:
                    reason = f"{state.name}: initial {state.initial!r} is no {state.type} field of the configuration"
                    problems.append(self.source.problem(state.line, reason, near_miss(state.initial, self.out.config)))
        for lease in self.out.leases.values():
            for name in (lease.rate, lease.burst, lease.share):
                if self.annotation(name) != "float":
                    reason = f"{lease.name}: {name!r} is no float field of the configuration"
                    problems.append(self.source.problem(lease.line, reason, near_miss(name, self.out.config)))
        if problems:
            raise PolicyError(problems)

    def annotation(self, name: str) -> str:
        found = self.out.config.get(name)
        return found.annotation if found else ""


