"""Daemons, servers and clients under measurement, and the operators' API of a daemon."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.common.process import Child
from bench.policy import binding
from bench.rpc.systems import Client
from mrpc_service.control.client import ControlClient
from mrpc_service.runtime_dir import RuntimeDir


def chain(policies: list[dict[str, Any]], name: str = "bench", side: str = "any", **selector: str) -> str:
    """A document. `selector`: client, service, method; those left out are any."""
    spec = {"selector": selector, "policies": policies} | ({} if side == "any" else {"side": side})
    return yaml.safe_dump({"apiVersion": "mrpc/v1alpha1", "kind": "PolicyChain", "metadata": {"name": name}, "spec": spec})


OFF = chain([{"name": "count", "use": "metrics"}])  # nothing that judges


@dataclass
class Daemon:
    child: Child
    runtime: Path
    control: ControlClient

    @property
    def env(self) -> dict[str, str]:
        return {"MRPC_RUNTIME_DIR": str(self.runtime)}

    def apply(self, *documents: str, programs: Mapping[str, str] | None = None, prune: bool = True) -> Any:
        """The PolicyReport of an apply, with these chains alone in force unless `prune` is False. Raises ControlError."""
        files = [{"name": "bench", "text": "---\n".join(documents), "programs": dict(programs or {})}]
        return self.control.call("Apply", files=files, prune=prune, force=True, revision=self.control.call("Show").revision)

    def edges(self) -> Any:
        return self.control.call("GetSnapshot").edges

    def policies(self) -> dict[str, tuple[int, int]]:
        """Evaluations and nanoseconds of each policy by its name. It counts by route, and each edge of the route shows that count."""
        by_route = {(edge.client, edge.service, edge.method, each.policy): each for edge in self.edges() for each in edge.policies}
        found: dict[str, tuple[int, int]] = {}
        for each in by_route.values():
            evaluations, ns = found.get(each.policy, (0, 0))
            found[each.policy] = (evaluations + each.evaluations, ns + each.ns_total)
        return found


@dataclass
class Mesh:
    """What runs; ends with its stack."""

    folder: Path
    generated: Path
    schema: bytes
    stack: ExitStack = field(default_factory=ExitStack)

    def daemon(self, node: str, *flags: str) -> Daemon:
        runtime = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{node}-"))) / "run"
        command = [sys.executable, "-m", "mrpc_service.daemon", "--runtime-dir", str(runtime), "--node", node, *flags]
        child = self.stack.enter_context(Child(command, "mrpcd ready"))
        return Daemon(child, runtime, self.stack.enter_context(ControlClient(RuntimeDir(runtime))))

    def server(self, daemon: Daemon, service: str = "Echo", threads: int = 4) -> Child:
        command = [sys.executable, "-m", "bench.policy.server", str(self.generated), service, str(threads)]
        return self.stack.enter_context(Child(command, "^ready$", daemon.env))

    def client(self, daemon: Daemon, service: str = "Echo") -> Client:
        client = Client([sys.executable, "-m", "bench.policy.client", str(self.generated), service], daemon.env, None)
        self.stack.enter_context(client.child)
        return client


class Kit:
    """Generated code and a folder, for as long as the benchmark runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generated = folder / "policy-generated"
        self.generated.mkdir()
        self.schema = binding.generate(self.generated)

    @contextmanager
    def mesh(self) -> Iterator[Mesh]:
        with ExitStack() as stack:
            yield Mesh(self.folder, self.generated, self.schema, stack)
