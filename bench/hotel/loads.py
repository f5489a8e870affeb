"""The two loads, and one run of either: the same requests, in the same order, by the same native generator on every system."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from apps.hotel.generate import SCHEMA
from apps.hotel.measure import write_requests
from apps.hotel.run import HotelApp
from bench.common.process import cpu_seconds
from mrpc_service.load import native, requests
from mrpc_service.load.result import LoadResult

NEARBY = "/hotel.Search/Nearby"
OPEN_CONNECTIONS = 64  # HTTP carries one request at a time on each
LIMITS = ("--drain", "5", "--timeout", "5")
ENVOYS = "Envoys"
DATA_PLANES = ("mrpcd", ENVOYS)


@dataclass(frozen=True)
class Run:
    """One run. CPU times are those of the application's processes, a request; Envoys count as one, so do frontends."""

    rate: float  # successes a second
    p50_us: float
    p99_us: float
    cpu_us: Mapping[str, float]
    generator_share: float  # of a core
    generator_speed: float  # how many times this rate one core of the generator could make
    failures: Mapping[str, int]  # by text; those never sent or never answered are among them

    @property
    def cpu_all_us(self) -> float:
        return sum(self.cpu_us.values())


class FrontendLoad:
    """The standard mix over HTTP."""

    def __init__(self, folder: Path) -> None:
        self.requests = write_requests(folder)

    def open(self, app: HotelApp, rate: float, seconds: float) -> Run:
        return _run(app, [*self._target(app, OPEN_CONNECTIONS), "--rate", str(rate)], seconds)

    def closed(self, app: HotelApp, in_flight: int, seconds: float) -> Run:
        return _run(app, [*self._target(app, in_flight), "--closed", str(in_flight)], seconds)

    def http_alone(self, app: HotelApp, rate: float, seconds: float) -> Run:
        """The same HTTP server and generator, at a path that calls no service."""
        return _run(app, [f"{app.url}/health", "--connections", str(OPEN_CONNECTIONS), "--rate", str(rate)], seconds)

    def _target(self, app: HotelApp, connections: int) -> list[str]:
        return [app.url, "--requests", str(self.requests), "--connections", str(connections)]


class SearchLoad:
    """search.Nearby over RPC, with the searches of the standard mix. Behind Envoys, the caller has one of its own, too."""

    def __init__(self, folder: Path) -> None:
        self.requests = write_requests(folder)
        self._schema, self._payloads = folder / "schema.pb", folder / "payloads"
        self._schema.write_bytes(requests.compile_protos([str(SCHEMA)], []))
        self.draw_from(list(map(search_request, search_lines(self.requests))))

    def draw_from(self, searches: list[dict[str, str | float]]) -> None:
        """Makes requests of these from now on."""
        kind = requests.request_class(self._schema.read_bytes(), NEARBY)
        requests.write_payloads(requests.encode_json(json.dumps(searches), kind), self._payloads)

    def open(self, app: HotelApp, rate: float, seconds: float) -> Run:
        return _run(app, [*self._target(app), "--rate", str(rate)], seconds)

    def closed(self, app: HotelApp, in_flight: int, seconds: float) -> Run:
        return _run(app, [*self._target(app), "--closed", str(in_flight)], seconds)

    def _target(self, app: HotelApp) -> list[str]:
        address = app.address("search", "frontend")
        target = f"mrpc://{NEARBY}" if app.rpc == "mrpc" else f"grpc://{address}{NEARBY}"
        return [target, "--payloads", str(self._payloads), *(["--schema", str(self._schema)] if app.rpc == "mrpc" else [])]


def search_lines(path: Path) -> list[str]:
    """The file's searches, in its order."""
    return [line for line in path.read_text().splitlines() if line.startswith("GET /hotels?")]


def search_request(line: str) -> dict[str, str | float]:
    """hotel.SearchRequest, as JSON has it, of a line of the mix."""
    given = {name: values[0] for name, values in parse_qs(urlsplit(line.split()[1]).query).items()}
    return {"lat": float(given["lat"]), "lon": float(given["lon"]), "in_date": given["inDate"], "out_date": given["outDate"]}


def _run(app: HotelApp, arguments: list[str], seconds: float) -> Run:
    """Raises LoadError, also when nothing succeeded, and StartError when a process of the application has ended."""
    app.check()
    before = _cpu(app)
    warmup = min(1.0, seconds / 3)
    counted = native.run([*arguments, "--duration", str(seconds), "--warmup", str(warmup), *LIMITS], env=app.environment)
    app.check()
    result = LoadResult.from_native(counted, {})
    failures = dict(result.errors)
    if lost := result.skipped_sends + result.unfinished:
        failures["never sent, or never answered"] = lost
    good = result.completed - sum(result.errors.values())
    if good <= 0:
        raise native.LoadError(f"no request succeeded at {arguments[0]}: {failures}")
    requests_all = result.completed + result.warmup
    cpu = {name: (spent - before[name]) * 1e6 / requests_all for name, spent in _cpu(app).items()}
    return Run(good * 1e9 / result.measured_ns, result.corrected.percentile(50) / 1e3, result.corrected.percentile(99) / 1e3, cpu,
               result.generator_cpu_ns / result.measured_ns, result.measured_ns / result.generator_cpu_ns, failures)


def _cpu(app: HotelApp) -> dict[str, float]:
    """Seconds so far by process."""
    spent: dict[str, float] = defaultdict(float)
    for name, pid in app.pids.items():
        spent[ENVOYS if name.startswith("envoy-") else name] += cpu_seconds([pid])
    return dict(spent)
