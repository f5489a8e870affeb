"""The bare relay (relay.c), in every way of waiting and placement that might be its best."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("relay.c")

# Name: who polls (client, daemon, server), and on which core each stands (-1: anywhere).
SETTINGS = {
    "all sleep": ((0, 0, 0), (-1, -1, -1)),
    "all sleep, one core": ((0, 0, 0), (0, 0, 0)),
    "daemon polls": ((0, 1, 0), (0, 1, 0)),
    "caller polls, others sleep": ((1, 0, 0), (-1, -1, -1)),
    "caller polls, others sleep on the other core": ((1, 0, 0), (0, 1, 1)),
}


def build(folder: Path) -> Path:
    """Compiles it. Raises CalledProcessError or OSError without a C compiler."""
    program = folder / "relay"
    subprocess.run(["cc", "-O2", "-o", program, SOURCE], check=True, capture_output=True, text=True)
    return program


def round_trips(program: Path, setting: str, calls: int) -> list[int]:
    """Nanoseconds of each round trip."""
    polls, cpus = SETTINGS[setting]
    done = subprocess.run([program, str(calls), *map(str, (*polls, *cpus))], check=True, capture_output=True, text=True, timeout=120)
    return [int(line) for line in done.stdout.split()]
