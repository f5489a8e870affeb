"""`make demo`: a first booking over the mesh, a booking that policy refuses, and a short comparison with gRPC + Envoy."""
from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import urllib.error
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from apps.processes import StartError

from .measure import LoadError, Measured, load, write_requests
from .run import POLICIES, HotelApp, fetch

STAY = {"inDate": "2015-04-09", "outDate": "2015-04-11"}
HERE = {"lat": 37.7867, "lon": -122.4112}
LOGIN = {"username": "Cornell_1", "password": "1111111111"}
ROUNDS = 2
SECONDS = 5
RATE_SHARE = 0.5  # of what the slower system can do at most

console = Console()
Runs = dict[str, list[Measured]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.hotel.demo", description="The hotel reservation over the mesh")
    parser.add_argument("--no-load", action="store_true", help="leave the comparison out")
    options = parser.parse_args()
    try:
        with ExitStack() as running:
            with console.status("Starting mrpcd and eight processes …"):
                app = running.enter_context(HotelApp("mrpc"))
            show_booking(app)
            show_denial(app)
            if not options.no_load:
                with console.status("Starting the same application over gRPC, an Envoy beside each process …"):
                    rival = running.enter_context(HotelApp("grpc", envoy=True))
                show_comparison({"mRPC": app, "gRPC + Envoy": rival})
    except (StartError, LoadError) as error:
        raise SystemExit(f"demo: {error}") from None
    show_next_steps()


def show_booking(app: HotelApp) -> None:
    console.rule("[bold]Hotel reservation over mRPC")
    console.print(f"{len(app.pids)} processes: {', '.join(app.pids)}.\n")
    found = json.loads(fetch(f"{app.url}/hotels?{urlencode({**STAY, **HERE})}"))["features"]
    table = Table("Hotel", "Name", "Phone", "Latitude", "Longitude",
                  title=f"Hotels near {HERE['lat']}, {HERE['lon']}, {STAY['inDate']} to {STAY['outDate']}")
    for hotel in found:
        lon, lat = hotel["geometry"]["coordinates"]
        table.add_row(hotel["id"], *hotel["properties"].values(), str(lat), str(lon))
    console.print(table)
    hotel_id = found[0]["id"]
    console.print(f"Alice books hotel {hotel_id}: [green]{book(app, hotel_id, 'alice')}\n")


def show_denial(app: HotelApp) -> None:
    console.rule("[bold]A policy at work")
    console.print(f"{POLICIES.name} denies bookings by a value of the message's field customer_name.")
    try:
        outcome = book(app, "1", "mallory")
    except urllib.error.HTTPError as error:
        outcome = f"HTTP {error.code}: {error.read().decode().strip()}"
    console.print(Text.assemble("Mallory books hotel 1: ", (outcome, "red")))
    console.print()


def book(app: HotelApp, hotel_id: str, customer: str) -> str:
    """The frontend's message. HTTPError when the booking is denied."""
    form = {**STAY, **LOGIN, "hotelId": hotel_id, "customerName": customer, "number": "1"}
    return json.loads(fetch(f"{app.url}/reservation", form))["message"]


def show_comparison(apps: dict[str, HotelApp]) -> None:
    console.rule("[bold]The same application, the same load")
    with tempfile.TemporaryDirectory(prefix="hotel-demo-") as folder, Progress(console=console, transient=True) as bar:
        requests = write_requests(Path(folder))
        task = bar.add_task("Loading each in turn", total=2 * ROUNDS * len(apps))

        def measure(rate: float | None) -> Runs:
            runs: Runs = {name: [] for name in apps}
            for _ in range(ROUNDS):
                for name, app in apps.items():
                    runs[name].append(load(app, requests, seconds=SECONDS, rate=rate))
                    bar.advance(task)
            return runs

        closed = measure(None)
        rate = round(min(median(runs, "rps") for runs in closed.values()) * RATE_SHARE)
        paced = measure(rate)
    console.print(comparison(closed, paced, rate))
    failed = {name: sum(run.failed for run in closed[name] + paced[name]) for name in apps}
    console.print(f"Failed requests: {', '.join(f'{name} {count}' for name, count in failed.items())}. "
                  f"Generator: at most {max(run.generator_cpu_share for run in all_runs(closed, paced)):.0%} of a core.")
    console.print("A sample of a few seconds on this machine, with whatever else it does. HTTP, Python and SQLite are the "
                  "same on both sides and part of every figure.\n")


def comparison(closed: Runs, paced: Runs, rate: int) -> Table:
    """One row a figure, one column a system, and the ratio in favour of the first."""
    ours, theirs = closed
    table = Table("Standard mix", ours, theirs, "Ratio", title=f"Medians of {ROUNDS} runs of {SECONDS} s each, in turn")
    rows = (("Capacity, closed loop (requests/s)", closed, "rps", ".0f"),
            ("CPU of all processes (µs/request)", closed, "cpu_us_per_request", ".0f"),
            (f"p50 at {rate} requests/s (ms)", paced, "p50_ms", ".2f"),
            (f"p99 at {rate} requests/s (ms)", paced, "p99_ms", ".2f"))
    for title, runs, figure, digits in rows:
        our, their = median(runs[ours], figure), median(runs[theirs], figure)
        ratio = our / their if figure == "rps" else their / our
        table.add_row(title, format(our, digits), format(their, digits), f"{ratio:.2f}x")
    return table


def median(runs: list[Measured], figure: str) -> float:
    return statistics.median(getattr(run, figure) for run in runs)


def all_runs(*tables: Runs) -> list[Measured]:
    return [run for table in tables for runs in table.values() for run in runs]


def show_next_steps() -> None:
    steps = Table.grid(padding=(0, 2))
    steps.add_row("make up", "keep it running: a page to search and book in")
    steps.add_row("apps/hotel/README.md", "how it is built, and how to run it over gRPC")
    steps.add_row("bench/RESULTS.md", "full comparisons, with every caveat")
    console.print(Panel(steps, title="Where to look next", expand=False))


if __name__ == "__main__":
    main()
