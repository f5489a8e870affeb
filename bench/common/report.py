"""Rows and claims: the one form in which benchmarks tell what they found."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.common import environment

REPOSITORY = Path(__file__).parents[2]
FOLDERS = re.compile(r"(?<![\w.:/])/(?:[\w.@+-]+/)+")
COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass
class Row:
    """One figure: the median of several measurements, and their least and greatest. Or, instead of them, why there is none."""

    work: str
    system: str
    metric: str
    value: float | None
    unit: str
    spread: tuple[float, float] | None
    failed: str | None = None

    @classmethod
    def of(cls, work: str, system: str, metric: str, unit: str, values: Sequence[float]) -> Row:
        return cls(work, system, metric, median(values), unit, (min(values), max(values)))


@dataclass
class Claim:
    """A number that the project promises. `target` is like ">= 30"; `measured` None: could not be measured."""

    id: str
    text: str
    target: str
    measured: float | None = None
    taken_from: str | None = None  # commit, date and machine of the full run that the figure was taken from

    @property
    def met(self) -> bool:
        sign, number = self.target.split()
        return self.measured is not None and COMPARE[sign](self.measured, float(number))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


@dataclass
class Report:
    name: str
    environment: dict[str, Any] = field(default_factory=environment.capture)
    rows: list[Row] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, work: str, system: str, metric: str, unit: str, values: Sequence[float]) -> None:
        self.rows.append(Row.of(work, system, metric, unit, values))

    def fail(self, work: str, system: str, why: object) -> None:
        """A row that says why `work` has no figure, or not those of every repeat."""
        self.rows.append(Row(work, system, "failed", None, "", None, without_folders(str(why))))

    def failed(self, work: str, system: str) -> bool:
        return any(row.failed and (row.work, row.system) == (work, system) for row in self.rows)

    def find(self, work: str, system: str, metric: str) -> float | None:
        return next((r.value for r in self.rows if (r.work, r.system, r.metric) == (work, system, metric)), None)

    def fill_from(self, full: Mapping[str, Any] | None) -> None:
        """Takes claims that could not be measured from the JSON of the last full run, and says so."""
        if not full:
            return
        known = {claim["id"]: claim for claim in full["claims"]}
        env = full["environment"]
        for claim in self.claims:
            old = known.get(claim.id, {})
            if claim.measured is None and old.get("measured") is not None:
                claim.measured = old["measured"]
                claim.taken_from = old.get("taken_from") or f"{env['commit']}, {env['date']}, {env['cpu']}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "environment": self.environment, "rows": [asdict(row) for row in self.rows],
                "claims": [claim.to_json() for claim in self.claims], "notes": [without_folders(note) for note in self.notes]}

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")


def read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def without_folders(text: str) -> str:
    """Paths of this machine, which errors quote and nobody else has, down to their last part; those of the repository from its root."""
    return FOLDERS.sub("", text.replace(f"{REPOSITORY}/", ""))


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def print_report(report: Report, console: Console) -> None:
    rows = Table(title=f"bench.{report.name}")
    for column in ("work", "system", "metric", "median", "unit", "least ... greatest"):
        rows.add_column(column, justify="right" if column in ("median", "least ... greatest") else "left")
    for row in report.rows:
        spread = escape(row.failed) if row.failed else " ... ".join(map(number, row.spread))
        rows.add_row(row.work, row.system, row.metric, number(row.value), row.unit, spread)
    claims = Table(title="claims")
    for column in ("id", "claim", "target", "measured", "met"):
        claims.add_column(column)
    for claim in report.claims:
        taken = " (full run)" if claim.taken_from else ""
        claims.add_row(claim.id, claim.text, claim.target, number(claim.measured) + taken, "yes" if claim.met else "NO")
    console.print(rows, claims)
    for note in report.notes:
        console.print(f"note: {without_folders(note)}", markup=False)
