"""All that happens before the C compiler: text -> C and the program's spec; and what can be told of a program without a schema."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from mrpc_service.policy.declare import Declarations, declare
from mrpc_service.policy.emit import emit
from mrpc_service.policy.lower import lower
from mrpc_service.policy.program import prepare, spec_of
from mrpc_service.policy.schema import Layout
from mrpc_service.policy.source import Source
from mrpc_service.policy.spec import ProgramSpec
from mrpc_service.policy.values import MISSING


def translate(source: Source, config: Mapping[str, Any], request: Mapping[str, Any] | None, reply: Mapping[str, Any] | None,
              previous: ProgramSpec | None = None) -> tuple[str, ProgramSpec]:
    """The C text, and the spec without its object. `request`, `reply`: as dataplane_api.MessageLayouts tells them. PolicyError."""
    layouts = [Layout(each) if each is not None else None for each in (request, reply)]
    program = prepare(declare(source), config, layouts[0], layouts[1], previous)
    old = lower(program)
    hooks = [each.hook for each in program.functions if each.hook]
    return emit(program), spec_of(program, hooks, old)


def inspect(source: Source) -> dict[str, Any]:
    """Name, doc, hooks, configuration, reads as they are written, and whether a schema is needed. PolicyError."""
    declared = declare(source)
    reads = sorted({each for hook, node in declared.hooks.items() if hook in ("request", "reply") for each in _reads(hook, node)})
    return {
        "name": declared.name, "doc": declared.doc, "source": source.name, "source_sha256": source.sha256, "on_fault": declared.on_fault,
        "hooks": list(declared.hooks), "config": [_config(declared, name) for name in declared.config],
        "state": list(declared.state), "stores": list(declared.stores), "leases": list(declared.leases),
        "reads": reads, "needs_layout": any(map(_needs_layout, declared.hooks.items())),
    }


def _config(declared: Declarations, name: str) -> dict[str, Any]:
    field = declared.config[name]
    required = field.default is MISSING
    return {"name": name, "annotation": field.annotation, "required": required, "default": None if required else field.default,
            "doc": field.doc, "live": field.live, "line": field.line}


def _needs_layout(hook: tuple[str, ast.FunctionDef]) -> bool:
    name, node = hook
    if name not in ("request", "reply"):
        return False
    message = node.args.args[2].arg
    return any(isinstance(each, ast.Name) and each.id == message for each in ast.walk(node))


def _reads(hook: str, node: ast.FunctionDef) -> list[str]:
    """Chains of attributes that begin at the message, longest first; and metadata by constant keys."""
    message, found = node.args.args[2].arg, []
    inner: set[int] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and id(each) not in inner:
            path, base = [each.attr], each.value
            while isinstance(base, ast.Attribute):
                inner.add(id(base))
                path.append(base.attr)
                base = base.value
            if isinstance(base, ast.Name) and base.id == message:
                found.append(".".join([hook, *reversed(path)]))
        if isinstance(each, ast.Subscript) and isinstance(each.value, ast.Name) and each.value.id == message:
            found.append(f"{hook}[{ast.unparse(each.slice)}]")
    return found
