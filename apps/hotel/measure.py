"""Loads a running HotelApp with the standard mix and says what came of it.

The load comes from `mrpc load`, run as a program: the same one for every system, at a constant rate with latencies
counted from the intended send times, or in a closed loop to find capacity. The application's CPU time is read from
/proc beside it.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import workload
from .run import HotelApp

CONNECTIONS = 16
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class LoadError(RuntimeError):
    """The load could not be made; the text says why."""


@dataclass(frozen=True)
class Measured:
    """One run: requests a second, latencies, failed requests, and CPU time of all the application's processes."""
    rps: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us_per_request: float
    generator_cpu_share: float


def write_requests(folder: Path, *, count: int = 10_000, seed: int = 1) -> Path:
    """A file of the mix in the folder."""
    path = folder / "requests"
    path.write_text("".join(f"{line}\n" for line in workload.lines(count, seed)))
    return path


def load(app: HotelApp, requests: Path, *, seconds: float, rate: float | None = None) -> Measured:
    """Sends requests drawn from the file at a constant rate, or, without one, over CONNECTIONS connections as fast as
    answers come (a closed loop). LoadError when there is no generator or nothing was answered."""
    pace = ["--rate", str(rate), "--connections", "64"] if rate else ["--closed", str(CONNECTIONS),
                                                                    "--connections", str(CONNECTIONS)]
    command = [sys.executable, "-m", "mrpc_service.cli", "load", app.url, "--requests", str(requests), *pace,
               "--duration", str(seconds), "--warmup", "1", "-o", "json"]
    before = cpu_seconds(app.pids.values())
    done = subprocess.run(command, capture_output=True, text=True)
    spent = cpu_seconds(app.pids.values()) - before
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise LoadError(f"mrpc load failed: {(done.stderr or done.stdout).strip()}") from None
    if not report["count"]:
        raise LoadError(f"mrpc load got no answer from {app.url}: {report['errorDistribution']}")
    latency_ns = {row["percentage"]: row["latency"] for row in report["latencyDistribution"]}
    lost = report["skipped_sends"] + report["unfinished"]
    return Measured(report["rps"], latency_ns[50] / 1e6, latency_ns[99] / 1e6,
                    sum(report["errorDistribution"].values()) + lost,
                    spent * 1e6 / (report["count"] + report["warmup_calls"]),
                    report["generator_cpu_seconds"] * 1e9 / report["total"])


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that the processes, and children of theirs that have ended, have used so far."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in pids) / _TICKS_PER_S


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
