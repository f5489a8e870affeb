"""The systems that are compared: each a set of processes and a way to start clients of it."""

from __future__ import annotations

import json
import select
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.common import envoy
from bench.common.netns import Host
from bench.common.process import Child, cpu_seconds
from bench.rpc import binding

RATE = 10_000_000  # of the token bucket, everywhere: judged, never reached
POLICIES = f"""\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {{name: bench}}
spec:
  policies:
    - {{name: limit, use: rate_limit, config: {{requests_per_second: {RATE}, burst: {RATE}}}}}
    - {{name: nobody, use: access_control, config: {{field: tag, deny: [nobody]}}}}
"""
FIELD = ("bench.Echo.Call", "tag", ("nobody",))
HEADER = envoy.HeaderDenial("x-tag", ("nobody",))
JUDGE = "envoy B"
CONFIG = "policies.yaml"
MESH_PORT = 7700
ANSWER_SECONDS = 120


class Client:
    """A measured process that does works one after another."""

    def __init__(self, command: list[str], env: Mapping[str, str], netns: str | None) -> None:
        self.child = Child(command, "^ready$", env, netns, stdin=True)

    def send(self, work: str, **arguments: Any) -> None:
        with suppress(BrokenPipeError):  # receive() tells that it died
            self.child.process.stdin.write(json.dumps({"work": work, **arguments}) + "\n")
            self.child.process.stdin.flush()

    def receive(self, seconds: float = ANSWER_SECONDS) -> Any:
        """The answer to send(). Raises RuntimeError when the client failed, or hangs."""
        answers = self.child.process.stdout
        if not select.select([answers], [], [], seconds)[0]:
            raise RuntimeError(f"a client did not answer within {seconds} s; its calls hang")
        line = answers.readline()
        if not line:
            raise RuntimeError(f"a client failed: {self.child.errors()}")
        return json.loads(line)

    def do(self, work: str, **arguments: Any) -> Any:
        self.send(work, **arguments)
        return self.receive()


@dataclass
class Deployment:
    """A running system. `parts` are its processes but clients: server, daemons, proxies."""

    system: str  # "mrpc" or "grpc"
    target: str
    generated: Path
    aio: bool = False
    parts: dict[str, Child] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    client_netns: str | None = None
    runtime_dir: Path | None = None  # of the daemon that judges
    policies: Path | None = None  # the documents that the daemon was started with
    admins: dict[str, Path] = field(default_factory=dict)  # of the proxies among the parts

    @contextmanager
    def client(self) -> Iterator[Client]:
        command = [sys.executable, "-m", "bench.rpc.client", self.system, str(self.generated), self.target, *(["--aio"] if self.aio else [])]
        client = Client(command, self.env, self.client_netns)
        with client.child:
            yield client

    def cpu_seconds(self, *clients: Client) -> float:
        """Of all parts and these clients together."""
        return cpu_seconds([part.pid for part in self.parts.values()] + [client.child.pid for client in clients])


class Kit:
    """Generated code and a folder, for as long as the benchmark runs; starts systems."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generated = folder / "generated"
        self.generated.mkdir()
        self.schema = binding.generate(self.generated)

    def _server(self, stack: ExitStack, system: str, address: str = "127.0.0.1:0", aio: bool = False, netns: str | None = None,
                env: Mapping[str, str] | None = None) -> Child:
        command = [sys.executable, "-m", "bench.rpc.server", system, str(self.generated), address, *(["--aio"] if aio else [])]
        return stack.enter_context(Child(command, r"^ready (\d+)$", env, netns))

    @contextmanager
    def grpc(self, aio: bool = False, hosts: tuple[Host, Host] | None = None) -> Iterator[Deployment]:
        """gRPC as it is: client to server over TCP."""
        at = hosts[1] if hosts else Host("", "127.0.0.1")
        with ExitStack() as stack:
            server = self._server(stack, "grpc", f"{at.address}:0", aio, at.netns or None)
            yield Deployment("grpc", f"{at.address}:{server.answer}", self.generated, aio, {"server": server},
                             client_netns=hosts[0].netns if hosts else None)

    @contextmanager
    def envoy(self, by_field: bool = False, hosts: tuple[Host, Host] | None = None) -> Iterator[Deployment]:
        """client -> Envoy A -> Envoy B, which judges -> server. A is beside the client, B beside the server."""
        near, far = hosts or (Host("", "127.0.0.1"), Host("", "127.0.0.1"))
        denial = envoy.FieldDenial(*FIELD, self.schema) if by_field else HEADER
        with ExitStack() as stack:
            server = self._server(stack, "grpc", "127.0.0.1:0", netns=far.netns or None)
            a, b = (near.address, free_port()), (far.address, free_port())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
            proxies = {
                JUDGE: (envoy.bootstrap(b, ("127.0.0.1", int(server.answer)), envoy.policies(RATE, denial)), far),
                "envoy A": (envoy.bootstrap(a, b, []), near),
            }
            parts = {"server": server}
            for name, (config, host) in proxies.items():
                parts[name] = stack.enter_context(envoy.start(config, folder, name, host.netns or None))
            yield Deployment("grpc", f"{a[0]}:{a[1]}", self.generated, False, parts, client_netns=near.netns or None,
                             admins={name: envoy.admin(folder, name) for name in proxies})

    def _daemon(self, stack: ExitStack, name: str, policies: bool, *flags: str, netns: str | None = None) -> tuple[Child, Path]:
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{name}-")))
        (runtime / CONFIG).write_text(POLICIES)
        config = ["--config", str(runtime / CONFIG)] if policies else []
        command = [sys.executable, "-m", "mrpc_service.daemon", "--runtime-dir", str(runtime / "run"), "--node", name, *config, *flags]
        return stack.enter_context(Child(command, "mrpcd ready", netns=netns)), runtime / "run"

    @contextmanager
    def mrpc(self, policies: bool = True, wait: str | None = None) -> Iterator[Deployment]:
        """client -> daemon, which judges -> server, through shared memory. `wait`: MRPC_WAIT of client and server."""
        with ExitStack() as stack:
            daemon, runtime = self._daemon(stack, "bench", policies)
            env = {"MRPC_RUNTIME_DIR": str(runtime), **({"MRPC_WAIT": wait} if wait else {})}
            server = self._server(stack, "mrpc", env=env)
            yield Deployment("mrpc", f"mrpc:///{binding.SERVICE}", self.generated, False, {"daemon": daemon, "server": server}, env,
                             runtime_dir=runtime, policies=runtime.parent / CONFIG)

    @contextmanager
    def mrpc_hosts(self, hosts: tuple[Host, Host]) -> Iterator[Deployment]:
        """client -> daemon A -> TCP -> daemon B, which judges -> server."""
        near, far = hosts
        with ExitStack() as stack:
            listen = f"{far.address}:{MESH_PORT}"
            b, b_runtime = self._daemon(stack, "b", True, "--listen", listen, "--insecure", netns=far.netns)
            server = self._server(stack, "mrpc", netns=far.netns, env={"MRPC_RUNTIME_DIR": str(b_runtime)})
            a, a_runtime = self._daemon(stack, "a", False, "--peer", listen, netns=near.netns)
            yield Deployment("mrpc", f"mrpc:///{binding.SERVICE}", self.generated, False, {"daemon A": a, "daemon B": b, "server": server},
                             {"MRPC_RUNTIME_DIR": str(a_runtime)}, near.netns, b_runtime)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
