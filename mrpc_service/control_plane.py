"""The control plane of one daemon: identities, owners, chains and peers, kept in step with the data plane.

All methods run on the main thread, in its asyncio loop; those of the data plane that may block run on another thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrpc_service import __version__, documents, logs
from mrpc_service import settings as settings_module
from mrpc_service.chains import requests
from mrpc_service.chains.apply import ChainKeeper
from mrpc_service.chains.model import Chain
from mrpc_service.chains.programs import ProgramLibrary
from mrpc_service.dataplane_api import Dataplane
from mrpc_service.documents import Documents
from mrpc_service.errors import ConfigError, StartupError
from mrpc_service.policy.leases import LeaseKeeper
from mrpc_service.registry import App, Owner, Registry
from mrpc_service.runtime_dir import RuntimeDir
from mrpc_service.settings import Settings

log = logging.getLogger("mrpcd")
FEATURES = ["judged_by", "policy_state"]  # of Status, for operators' tools that meet older daemons
EVENT_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
EVENT_DEFAULT_LEVELS = {"refused": logging.WARNING, "peer_down": logging.WARNING}
EVENT_FIELDS = ("app", "principal", "pid", "label", "role", "service", "peer")


class ControlPlane:
    def __init__(
        self, *, settings: Settings, read_settings: Callable[[Documents], Settings], config: list[Path], runtime: RuntimeDir,
        state_dir: Path, dataplane: Dataplane, registry: Registry, log_ring: logs.LogRing, chains: ChainKeeper,
        library: ProgramLibrary, leases: LeaseKeeper,
    ) -> None:
        """`read_settings` merges the command line with newly read documents, for `reload`."""
        self.settings, self.runtime, self.state_dir = settings, runtime, state_dir
        self.dataplane, self.registry, self.log_ring = dataplane, registry, log_ring
        self.chains, self.library, self.leases = chains, library, leases
        chains.on_change = leases.wake
        self.draining = False
        self.listening = ""
        self.takeovers, self.takeover_pause_ns = 0, 0  # in a row up to this process; of the last one
        self._read_settings, self.config = read_settings, config
        self._config_files: list[Path] = []
        self._config_error = ""
        self._started_ns = time.monotonic_ns()
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, loaded: Documents, *, cause: str = "start", config_only: bool = False, reset_store: bool = False) -> None:
        """Put identities, owners and chains in force. StartupError."""
        self.push_identities()
        self.push_owners()
        self.push_recorder()
        try:
            restored = [] if config_only else await requests.restore(self.chains.store, self.library, self.registry.path, reset=reset_store)
            await self.chains.start(await self._checked(loaded), restored, cause)
        except ConfigError as error:
            raise StartupError(str(error)) from None
        self._config_files = loaded.files

    def resume(self, listening: str) -> None:
        """After prepare(), where a predecessor's listener and peers go on: what start() does besides. StartupError."""
        self.listening = listening
        snapshot = self.dataplane.snapshot()
        self.chains.epoch = snapshot["epoch"]
        known = {peer["address"] for peer in snapshot["peers"]}
        for address in self.settings.peers:
            if address not in known:
                self._add_peer(address)
        self._follow()

    async def start(self, loaded: Documents, *, config_only: bool = False, reset_store: bool = False) -> None:
        """Put all in force: identities, owners, chains, listener and static peers. The data plane runs already. StartupError."""
        await self.prepare(loaded, config_only=config_only, reset_store=reset_store)
        if self.settings.listen:
            try:
                self.listening = self.dataplane.listen(self.settings.listen)
            except (RuntimeError, ValueError) as error:
                raise StartupError(f"{error}; choose another --listen") from None
            log.warning("listening for daemons on %s in plaintext: whoever reaches it can call and read", self.listening)
        for address in self.settings.peers:
            self._add_peer(address)
        self._follow()

    def _follow(self) -> None:
        asyncio.get_running_loop().add_reader(self.dataplane.events_fd(), self.take_events)
        self._spawn(self.leases.run())

    def _add_peer(self, address: str) -> None:
        try:
            self.dataplane.add_peer(address)
        except (RuntimeError, ValueError) as error:
            raise StartupError(f"--peer {address}: {error}") from None

    async def stop(self) -> None:
        """Drain the data plane and close the store."""
        self.draining = True
        await self.chains.settle()
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self.dataplane.stop, self.settings.drain_timeout_s)
        loop = asyncio.get_running_loop()
        self.take_events()
        loop.remove_reader(self.dataplane.events_fd())
        self.registry.close()

    # ---- events

    def take_events(self) -> None:
        for event in self.dataplane.drain_events():
            if event["kind"] == "offered":
                self._claim(event)
            if event["kind"] == "program_needed":
                self._spawn(self.chains.provide(event["service"], event["fingerprint"]))
            else:
                self._log_event(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _claim(self, event: dict[str, Any]) -> None:
        """The first principal that offers a name holds it from now on, over restarts too."""
        try:
            if event.get("principal") and self.registry.claim_service(event["service"], event["principal"]):
                self.push_owners()
        except sqlite3.OperationalError as error:
            log.error("cannot write down who holds %s: %s; make room in %s", event["service"], error, self.state_dir)

    def _log_event(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        level = EVENT_LEVELS.get(event.get("level", ""), EVENT_DEFAULT_LEVELS.get(kind, logging.INFO))
        facts = " ".join(f"{name}={event[name]}" for name in EVENT_FIELDS if event.get(name))
        parts = [event.get("text", "")] if kind == "log" else [kind, facts, event.get("text", "")]
        logging.getLogger("mrpcd.dataplane").log(level, "%s", " ".join(filter(None, parts)))

    # ---- identities and owners

    def push_identities(self) -> None:
        self.dataplane.set_identities(
            [
                {"name": app.name, "uid": app.uid, "token_sha256": app.token_sha256, "act_as": list(app.act_as)}
                for app in self.registry.apps()
            ]
        )

    def push_owners(self) -> None:
        self.dataplane.set_service_owners({owner.service: owner.principal for owner in self.registry.owners()})

    def push_recorder(self) -> None:
        recorder = self.settings.recorder
        self.dataplane.configure_recorder(recorder.calls_max, recorder.sample, list(recorder.redact))

    def register_app(self, name: str, uid: int, act_as: Sequence[str], replace: bool, operator_uid: int) -> tuple[App, str]:
        """RegistryError."""
        app, token = self.registry.register_app(name, uid, act_as=act_as, replace=replace)
        self.push_identities()
        tenants = f", to act for {', '.join(app.act_as)}," if app.act_as else ""
        log.info("app %s registered for uid %d%s by operator uid %d", name, uid, tenants, operator_uid)
        return app, token

    def grant_tenants(self, name: str, act_as: Sequence[str], operator_uid: int) -> App:
        """RegistryError."""
        app = self.registry.grant_tenants(name, act_as)
        self.push_identities()
        log.info("app %s may act for %s, by operator uid %d", name, ", ".join(app.act_as) or "nobody else", operator_uid)
        return app

    def remove_app(self, name: str, operator_uid: int) -> App:
        """RegistryError."""
        app = self.registry.remove_app(name)
        self.push_identities()
        log.info("app %s removed by operator uid %d", name, operator_uid)
        return app

    def release_service(self, service: str, operator_uid: int) -> Owner:
        """RegistryError."""
        owner = self.registry.release_service(service)
        self.push_owners()
        log.info("service %s released from %s by operator uid %d", service, owner.principal, operator_uid)
        return owner

    # ---- configuration

    async def reload(self, cause: str, operator_uid: int) -> dict[str, Any]:
        """Read the configuration again and put it in force, or change nothing and raise ConfigError."""
        try:
            loaded = await asyncio.to_thread(documents.read, self.config)
            chains = await self._checked(loaded)
            wanted = self._read_settings(loaded)
            applied = await self.chains.change(requests.replace_config(chains), cause, operator_uid)
        except (ConfigError, StartupError) as error:
            self._config_error = str(error)
            log.error("configuration refused, what ran runs on: %s", error)
            raise ConfigError(str(error)) from None
        self._config_files, self._config_error = loaded.files, ""
        return applied | {"warnings": self._take_settings(wanted)}

    async def _checked(self, loaded: Documents) -> list[Chain]:
        """Its chains, with their programs. ConfigError with all that is wrong with it."""
        faults = [*loaded.faults]
        chains = await self.library.resolve_all(loaded.chains, faults)
        if faults:
            raise ConfigError("\n".join(faults))
        return chains

    def _take_settings(self, wanted: Settings) -> list[str]:
        """Put live settings in force; one warning for each that must wait for the next start."""
        if wanted.log_level != self.settings.log_level:
            self.set_log_level(wanted.log_level)
        late = settings_module.changed_at_start_only(self.settings, wanted)
        warnings = [f"{name}: the change takes effect when mrpcd starts again" for name in late]
        for warning in warnings:
            log.warning("%s", warning)
        kept = {name: getattr(self.settings, name) for name in late}
        self.settings = replace(wanted, **kept)
        self.push_recorder()
        return warnings

    def set_log_level(self, level: str) -> None:
        logs.set_level(level)
        log.info("log level is %s", level)

    # ---- what operators see

    def metrics_text(self) -> str:
        from mrpc_service import metrics

        return metrics.text(self.dataplane, self.leases, self.chains)

    def status(self) -> dict[str, Any]:
        """The fields of the API's Status."""
        snapshot = self.dataplane.snapshot()
        attachments = snapshot["attachments"]
        settings = self.settings
        times = os.times()
        return {
            "version": __version__, "features": FEATURES, "node": settings.node, "pid": os.getpid(), "uid": os.geteuid(),
            "state": "draining" if self.draining else "ready", "uptime_ns": time.monotonic_ns() - self._started_ns,
            "runtime_dir": str(self.runtime.path), "state_dir": str(self.state_dir), "socket": str(self.runtime.app_socket),
            "listen": self.listening, "insecure": settings.insecure, "metrics": settings.metrics, "registry": settings.registry,
            "log_level": logs.current_level(), "config": [str(path) for path in self._config_files],
            "config_error": self._config_error, "epoch": self.chains.epoch, "revision": self.chains.revision,
            "policy_store": settings.policy_store, "shards": settings.shards, "takeovers": self.takeovers,
            "takeover_pause_ns": self.takeover_pause_ns,
            "attachments": len(attachments), "services": len(snapshot["services"]), "edges": len(snapshot["edges"]),
            "peers": len(snapshot["peers"]), "open_calls": sum(attached["open_calls"] for attached in attachments),
            "shared_memory_bytes": sum(each["send_bytes"] + each["receive_committed_bytes"] for each in attachments),
            "rss_bytes": private_bytes(), "cpu_seconds": times.user + times.system,
        }


def private_bytes() -> int:
    """Resident memory of this process without pages of shared memory."""
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    shmem_kib = next(
        (int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssShmem")), 0
    )
    return resident * os.sysconf("SC_PAGESIZE") - shmem_kib * 1024
