"""`python -m bench [--quick] [NAME...]`: runs every benchmark folder (or those named) and renders bench/RESULTS.md.

A full run leaves bench/NAME/results.json; a quick one renders what the last full runs left beside its own check."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench.common import markdown, plots, report

HERE = Path(__file__).parent


def names() -> list[str]:
    return sorted(path.parent.name for path in HERE.glob("*/__main__.py"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", default=names(), metavar="NAME", help=f"of {', '.join(names())}")
    parser.add_argument("--quick", action="store_true", help="at most 10 minutes for each; results.json stays as it is")
    parser.add_argument("--render-only", action="store_true", help="run nothing; render what the last full runs left")
    flags = parser.parse_args()
    failed = [] if flags.render_only else [name for name in flags.names if not run(name, flags.quick)]
    render_all()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(name: str, quick: bool) -> bool:
    return subprocess.run([sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])]).returncode == 0


def render_all() -> None:
    results = [found for name in names() if (found := report.read(HERE / name / "results.json"))]
    drawn = {r["name"]: path for r in results if plots.plot_claims(r, path := HERE / f"{r['name']}.png")}
    (HERE / "RESULTS.md").write_text(markdown.render(results, drawn))


if __name__ == "__main__":
    sys.exit(main())
