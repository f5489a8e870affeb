"""Bars of a benchmark's claims, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plot_claims(result: Mapping[str, Any], path: Path) -> bool:
    """How far each claim was met: measured over target, or target over measured where less is better; 1 is just met.

    Returns False where there is nothing to draw, or nothing to draw with.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    shares = {claim["id"]: share(claim) for claim in result["claims"] if claim["measured"]}
    if not shares:
        return False
    figure = Figure(figsize=(8, 1 + 0.3 * len(shares)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(list(shares), list(shares.values()), color=["tab:green" if value >= 1 else "tab:red" for value in shares.values()])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("how far the claim was met (1: just met)")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
    return True


def share(claim: Mapping[str, Any]) -> float:
    sign, target = claim["target"].split()
    ratio = claim["measured"] / float(target)
    return ratio if sign.startswith(">") else 1 / ratio
