"""bench/RESULTS.md, from the JSON of each benchmark's last full run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common.report import number


def render(results: Sequence[Mapping[str, Any]], plots: Mapping[str, Path]) -> str:
    """One section for each benchmark: where it was measured, its claims, its rows, its plot if there is one."""
    parts = ["# Results", "", "Made by `python -m bench` (or `make bench`). A claim that is not met stays in the table as not met.", ""]
    for result in results:
        parts += _section(result)
        if result["name"] in plots:
            parts += [f"![{result['name']}]({plots[result['name']].name})", ""]
    return "\n".join(parts)


def _section(result: Mapping[str, Any]) -> list[str]:
    env = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in env["packages"].items() if version)
    return [
        f"## {result['name']}", "",
        f"{env['date']}, commit {env['commit']}: {env['cpu']}, {env['cores']} cores, {env['memory_gib']} GiB, Linux {env['kernel']}, "
        f"Python {env['python']}, {versions}; load average {env['load_average'][0]:.2f} at the start.", "",
        "| claim | text | target | measured | met |", "|---|---|---|---|---|",
        *(_claim(claim) for claim in result["claims"]), "",
        "| work | system | metric | median | unit | least ... greatest |", "|---|---|---|---:|---|---:|",
        *(_row(row) for row in result["rows"]), "",
        *(f"- {note}" for note in result["notes"]), "",
    ]


def _claim(claim: Mapping[str, Any]) -> str:
    taken = f" (from {claim['taken_from']})" if claim["taken_from"] else ""
    return f"| {claim['id']} | {claim['text']} | {claim['target']} | {number(claim['measured'])}{taken} | {'yes' if claim['met'] else '**no**'} |"


def _row(row: Mapping[str, Any]) -> str:
    spread = (row.get("failed") or "").replace("|", "\\|") or " ... ".join(number(value) for value in row["spread"])
    return f"| {row['work']} | {row['system']} | {row['metric']} | {number(row['value'])} | {row['unit']} | {spread} |"
