"""One program on its way from declarations to IR: what its functions share, and what the data plane is told of it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mrpc_service.policy.declare import Declarations
from mrpc_service.policy.errors import PolicyError, Problem
from mrpc_service.policy.ir import Function
from mrpc_service.policy.schema import Layout
from mrpc_service.policy.spec import CONFIG_BYTES, ConfigField, OldField, ProgramSpec, StateScope, Store, Write
from mrpc_service.policy.types import Type
from mrpc_service.policy.values import ANNOTATIONS, ValueProblem, read_value

ABI = 1
INSTANCES_MAX = 128
SCOPES_MAX, CELLS_MAX = 8, 16  # what the data plane keeps for one policy, and in one row
PARTS_MAX = 50_000


@dataclass(frozen=True)
class StateCell:
    scope: int  # index of its row
    index: int  # of its cell, counted through all scopes
    type: str


@dataclass
class Program:
    declared: Declarations
    compile_time: dict[str, Any]        # values of Field, Fields and Scope
    layouts: dict[str, Layout | None]   # by hook: request, reply
    offsets: dict[str, int] = field(default_factory=dict)
    cells: dict[str, StateCell] = field(default_factory=dict)
    scopes: list[StateScope] = field(default_factory=list)
    old: dict[str, tuple[int, OldField]] = field(default_factory=dict)
    reads: dict[str, None] = field(default_factory=dict)
    writes: dict[str, Write] = field(default_factory=dict)
    reads_bytes: bool = False
    needs_layout: bool = False
    functions: list[Function] = field(default_factory=list)
    instances: dict[tuple[str, str, tuple[Type, ...]], Function] = field(default_factory=dict)
    in_progress: list[str] = field(default_factory=list)
    parts: int = 0
    labels: int = 0

    def spend(self, node: ast.AST) -> None:
        """Unrolled loops and methods for several types multiply: bounded."""
        self.parts += 1
        if self.parts > PARTS_MAX:
            self.declared.source.fail(node, f"more than {PARTS_MAX} parts once loops over Fields are unrolled", "use fewer fields")

    def scope(self, per: tuple[str, ...] | str) -> list[str]:
        return list(self.compile_time[per] if isinstance(per, str) else per)


def prepare(declared: Declarations, config: Mapping[str, Any], request: Layout | None, reply: Layout | None,
            previous: ProgramSpec | None) -> Program:
    """PolicyError when `config` does not fit. `config`: any of the fields; those that are built in must be there or have defaults."""
    program = Program(declared, _compile_time(declared, config), {"request": request, "reply": reply})
    _lay_out_config(program)
    _lay_out_state(program)
    if previous is not None:
        _find_old(program, previous)
    return program


def _compile_time(declared: Declarations, config: Mapping[str, Any]) -> dict[str, Any]:
    problems, out = [], {}
    name = declared.source.name
    for unknown in config.keys() - declared.config.keys():
        problems.append(Problem(name, 0, 0, f"there is no field {unknown!r} of the configuration", ", ".join(declared.config)))
    for each in declared.config.values():
        if each.live:
            continue
        value = config.get(each.name, each.default)
        try:
            out[each.name] = read_value(each.annotation, value)
        except ValueProblem as error:
            given = f"{each.name}: {error}" if each.name in config else f"{each.name} is required"
            problems.append(Problem(name, each.line, 0, given, f"{each.name}: {error.example}"))
    if problems:
        raise PolicyError(problems)
    return out


def _lay_out_config(program: Program) -> None:
    at = 0
    for each in program.declared.config.values():
        if each.live:
            program.offsets[each.name] = at
            at += CONFIG_BYTES[ANNOTATIONS[each.annotation]]  # type: ignore[index]


def _lay_out_state(program: Program) -> None:
    """Fields of one scope share a row; rows in the order in which scopes appear."""
    for each in program.declared.state.values():
        scope = program.scope(each.per)
        row = next((row for row in program.scopes if row["scope"] == scope), None)
        if row is None:
            row = StateScope(scope=scope, fields=[])
            program.scopes.append(row)
        if len(program.scopes) > SCOPES_MAX or len(row["fields"]) >= CELLS_MAX:
            reason = f"state of more than {SCOPES_MAX} scopes, or of more than {CELLS_MAX} fields in one"
            program.declared.source.fail(each.line, reason, "split it into several policies of one chain")
        initial = each.initial if isinstance(each.initial, str) else float(each.initial) if each.type == "float" else int(each.initial)
        row["fields"].append({"name": each.name, "type": each.type, "initial": initial})  # type: ignore[typeddict-item]
    index = 0
    for row_index, row in enumerate(program.scopes):
        for cell in row["fields"]:
            program.cells[cell["name"]] = StateCell(row_index, index, cell["type"])
            index += 1


def _find_old(program: Program, previous: ProgramSpec) -> None:
    """What the version before kept, in scopes that are still there."""
    rows = {tuple(row["scope"]): index for index, row in enumerate(program.scopes)}
    for row in previous["state"]:
        index = rows.get(tuple(row["scope"]))
        for each in row["fields"] if index is not None else []:
            program.old[each["name"]] = (index, OldField(scope=row["scope"], name=each["name"], type=each["type"]))  # type: ignore[assignment]


def spec_of(program: Program, hooks: list[str], old: list[OldField]) -> ProgramSpec:
    """All but the object's path."""
    declared = program.declared
    live = [each for each in declared.config.values() if each.live]
    config = [ConfigField(name=each.name, type=ANNOTATIONS[each.annotation], offset=program.offsets[each.name]) for each in live]  # type: ignore[typeddict-item]
    return ProgramSpec(
        abi=ABI, name=declared.name, source=declared.source.name, source_sha256=declared.source.sha256, object="",
        config_bytes=sum(CONFIG_BYTES[each["type"]] for each in config), config=config,
        state=program.scopes, old=old,
        stores=[Store(name=each.name, scope=program.scope(each.per)) for each in declared.stores.values()],
        leases=[{"name": each.name, "rate": each.rate, "burst": each.burst, "share": each.share} for each in declared.leases.values()],
        hooks=hooks, reads=sorted(program.reads), writes=list(program.writes.values()), reads_bytes=program.reads_bytes,  # type: ignore[typeddict-item]
        needs_layout=program.needs_layout, on_fault=declared.on_fault,  # type: ignore[typeddict-item]
    )
