"""The typed program: trees of expressions and statements, every type known, every name resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mrpc_service.policy.types import Type


@dataclass(frozen=True)
class Expr:
    """`op` says what: emit_expr.py has one method for each. `data` is what is not an expression: a constant, an offset, a Field."""

    op: str
    type: Type
    args: tuple[Expr, ...] = ()
    data: Any = None
    line: int = 0


@dataclass(frozen=True)
class Stmt:
    """`op`: assign, set_state, set_field, do, if, for_range, for_array, for_list, block, loop, return, break, continue."""

    op: str
    args: tuple[Expr, ...] = ()
    data: Any = None
    bodies: tuple[list[Stmt], ...] = ()
    line: int = 0


@dataclass
class Function:
    """A hook, or a method for one tuple of argument types."""

    name: str  # in C
    parameters: list[tuple[str, Type]]  # C names of locals
    result: Type
    body: list[Stmt] = field(default_factory=list)
    locals: dict[str, Type] = field(default_factory=dict)  # C name -> type
    hook: str = ""         # "": a method
    upgrade: bool = False  # runs in upgrade, or is called by it
    line: int = 0
