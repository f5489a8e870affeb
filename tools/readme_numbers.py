"""Fills READMEs' numbers from bench/*/results.json, so that none is typed by hand: the Measured column of tables, and what stands in
a text as `<!-- of: CLAIM -->12.3<!-- -->`.

A comment `<!-- claims: NAME -->` is followed by a table of all claims of bench/NAME, which is written anew.
"""

import json
import re
from pathlib import Path

INLINE = re.compile(r"(<!-- of: ([\w.]+) -->)[^<]*(<!-- -->)")
CLAIMS = re.compile(r"(<!-- claims: (\w+) -->\n\n).*?(?=\n\n|\n?\Z)", re.DOTALL)
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


def table(name: str, known: dict[str, dict]) -> str:
    rows = [f"| `{claim['id']}` | {claim['text']} | {claim['target']} | {cell(claim)} |" for claim in known.values()
            if claim["id"].startswith(f"{name}.")]
    return "\n".join(["| Claim | What | Target | Measured |", "|---|---|---|---|", *rows]) if rows else "Not measured yet."


def filled(page: str, known: dict[str, dict]) -> str:
    page = CLAIMS.sub(lambda found: found[1] + table(found[2], known), page)
    measured = {name: f"{claim['measured']:.3g}" for name, claim in known.items() if claim["measured"] is not None}
    page = INLINE.sub(lambda found: found[1] + measured[found[2]] + found[3] if found[2] in measured else found[0], page)
    return "\n".join(fill(line, known) for line in page.split("\n"))


def main() -> None:
    known = claims()
    for readme in (ROOT / "README.md", *ROOT.glob("apps/*/README.md")):
        readme.write_text(filled(readme.read_text(), known))


if __name__ == "__main__":
    main()
