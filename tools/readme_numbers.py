"""Fills the Measured column of README.md's tables from bench/*/results.json, so that no number there is typed by hand."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def claims() -> dict[str, dict]:
    found = {}
    for results in ROOT.glob("bench/*/results.json"):
        found |= {claim["id"]: claim for claim in json.loads(results.read_text())["claims"]}
    return found


def cell(claim: dict) -> str:
    if claim["measured"] is None:
        return "not measured"
    return f"{claim['measured']:.3g}" + ("" if claim["met"] else " (missed)")


def ids(pattern: str) -> list[str]:
    braces = re.search(r"\{([^}]*)\}", pattern)
    if not braces:
        return [pattern]
    return [pattern.replace(braces.group(0), choice) for choice in braces.group(1).split(",")]


def fill(line: str, known: dict[str, dict]) -> str:
    row = re.match(r"(\| `([^`]+)` \|.*\|)[^|]*\|$", line)
    if not row or not all(name in known for name in ids(row.group(2))):
        return line
    return f"{row.group(1)} {', '.join(cell(known[name]) for name in ids(row.group(2)))} |"


def main() -> None:
    readme, known = ROOT / "README.md", claims()
    readme.write_text("\n".join(fill(line, known) for line in readme.read_text().split("\n")))


if __name__ == "__main__":
    main()
