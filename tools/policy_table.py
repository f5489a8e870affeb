"""Fills the table of docs/policies/README.md: what each policy does, how long its program is, and what a call of it costs, by
bench/policy/results.json, so that no number there is typed by hand."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / "docs/policies/README.md"
RESULTS = ROOT / "bench/policy/results.json"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def lines_of(path: Path) -> int:
    """Lines of code: those on which something stands that is neither a comment nor the file's docstring."""
    text = path.read_text()
    tree = ast.parse(text)
    skipped: set[int] = set()
    for node in [tree, *(each for each in tree.body if isinstance(each, ast.ClassDef))]:
        if ast.get_docstring(node) is not None:
            skipped |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return sum(1 for number, line in enumerate(text.splitlines(), 1)
               if line.strip() and not line.lstrip().startswith("#") and number not in skipped)


def costs() -> dict[str, float]:
    """ns/call in the datapath, by policy, of the last full run."""
    if not RESULTS.exists():
        return {}
    rows = json.loads(RESULTS.read_text())["rows"]
    return {row["work"].removeprefix("policy "): row["value"] for row in rows
            if row["system"] == "mrpc" and row["metric"] == "in the datapath" and row["value"] is not None}


def table() -> str:
    known = costs()
    out = ["| Policy | What it does | Lines | ns/call |\n", "|---|---|---:|---:|\n"]
    for path in sorted((ROOT / "policies").glob("*.py")):
        doc = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        cost = f"{known[path.stem]:.0f}" if path.stem in known else "not measured"
        out.append(f"| [{path.stem}]({path.stem}.md) | {doc} | {lines_of(path)} | {cost} |\n")
    return "".join(out)


def main() -> int:
    text = INDEX.read_text()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    INDEX.write_text(f"{head}{BEGIN}{table()}{END}{tail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
