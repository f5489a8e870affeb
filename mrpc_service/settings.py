"""What a daemon was asked to be: command line first, then the document of kind Daemon, then defaults."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrpc_service.errors import StartupError
from mrpc_service.logs import LEVELS

if TYPE_CHECKING:
    from mrpc_service.documents import DaemonSpec

METRICS_ADDRESS = "127.0.0.1:9464"  # of `--metrics` without ADDR: the port that OpenTelemetry's exporters use
LISTEN_PORT = 7700
MESSAGE_BYTES_MAX = 64 << 20
QUOTA_BYTES = 512 << 20
CORES_FOR_TWO_SHARDS = 8
REDIS = ("redis://", "rediss://", "unix://")
WILDCARDS = ("0.0.0.0", "::", "*")

EPILOG = """\
With no flag at all, mrpcd serves the applications of this host: $MRPC_RUNTIME_DIR, else /run/mrpc as root, else
$XDG_RUNTIME_DIR/mrpc. SIGTERM and SIGINT drain it (a second one ends it at once); SIGHUP reads --config again;
SIGUSR2 starts a successor with the same flags, and --takeover.

  mrpcd                                           serve this host
  mrpcd --config chains.yaml --metrics            with policies, and metrics on http://127.0.0.1:9464/metrics
  mrpcd --listen 10.0.0.1:7700 --insecure         take plaintext connections of other daemons
  mrpcd --peer 10.0.0.1:7700                      use the services of another daemon
  mrpcd --takeover                                replace the running mrpcd, as after an upgrade; no call is lost
  mrpcd --listen 10.0.0.1:7700 --insecure --registry redis://10.0.0.9/0    find the others through Redis

Exit codes: 0 stopped in good order, 1 could not start or serve (one line says why), 2 wrong usage.
"""


@dataclass(frozen=True)
class Recorder:
    """Of calls, for dry runs; only a document sets it."""

    calls_max: int = 256  # of each shard
    sample: float = 1.0
    redact: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    node: str
    shards: int
    listen: str = ""
    insecure: bool = False
    peers: tuple[str, ...] = ()
    registry: str = ""
    policy_store: str = ""
    policies: tuple[str, ...] = ()
    recorder: Recorder = Recorder()
    advertise: str = ""
    metrics: str = ""
    log_level: str = "info"
    drain_timeout_s: float = 10.0
    spin_us: int = 50
    message_bytes_max: int = MESSAGE_BYTES_MAX
    send_quota_bytes: int = QUOTA_BYTES
    receive_quota_bytes: int = QUOTA_BYTES


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="mrpcd", description="The mRPC daemon: RPC as a service of this host.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS,
    )
    add = made.add_argument
    add("--runtime-dir", metavar="DIR", default=None, help="sockets and lock (see below for the default)")
    add("--state-dir", metavar="DIR", default=None,
        help="what outlives the daemon; default $MRPC_STATE_DIR, DIR/state with --runtime-dir, /var/lib/mrpc as root, "
             "else $XDG_STATE_HOME/mrpc")
    add("--config", metavar="PATH", action="append", type=Path, default=[], help="file or directory of documents; repeatable")
    add("--node", metavar="NAME", help="this daemon's name among daemons; default: the host's name")
    add("--shards", metavar="N", type=int, help="threads of the data plane; default 1, or 2 on hosts of 8 cores and more")
    add("--listen", metavar="ADDR", help=f"take other daemons' connections at HOST:PORT (usually {LISTEN_PORT})")
    add("--insecure", action="store_true", help="let --listen speak plaintext, to anybody who reaches the port")
    add("--peer", dest="peers", metavar="ADDR", action="append", help="another daemon's HOST:PORT; repeatable")
    add("--registry", metavar="URL", help="where daemons find each other: redis://HOST/DB, or sqlite:///PATH on one host")
    add("--policies", metavar="DIR", action="append", help="where programs that chains `use` by name are looked for first; repeatable")
    add("--policy-store", metavar="URL",
        help="redis://HOST/DB that daemons share budgets in (global rate limits); default: that of --registry, if it is Redis")
    add("--config-only", action="store_true", default=False,
        help="start with the chains of --config alone; those that operators applied stay in the store, for 'mrpc policy rollback'")
    add("--reset-store", action="store_true", default=False,
        help="if the store is damaged, keep a copy and begin anew; apps, service owners and applied chains are forgotten")
    add("--advertise", metavar="ADDR", help="address to put in the registry, where it is not that of --listen")
    add("--metrics", metavar="ADDR", nargs="?", const=METRICS_ADDRESS,
        help=f"serve Prometheus metrics over HTTP; ADDR defaults to {METRICS_ADDRESS}")
    add("--log-level", choices=LEVELS, help="default info; 'mrpc log-level' changes it while the daemon runs")
    add("--takeover", action="store_true", default=False,
        help="take the place of the mrpcd that runs: its calls, applications and settings go on; other flags change what may change")
    add("--drain-timeout", dest="drain_timeout_s", metavar="SECONDS", type=float, help="at the end, for open calls; default 10")
    add("--spin-us", metavar="US", type=int,
        help="how long an idle shard polls before it sleeps; default 50; only while work comes sooner than that, so an idle daemon never does")
    add("--version", action="store_true", help="print the version and exit")
    return made


def default_shards() -> int:
    return 1 if len(os.sched_getaffinity(0)) < CORES_FOR_TWO_SHARDS else 2


def merge(flags: argparse.Namespace, spec: DaemonSpec, inherited: Mapping[str, Any] | None = None) -> Settings:
    """Settings of flags over `spec` over those `inherited` from a predecessor over defaults. StartupError if they contradict each other."""
    settings = Settings(node=socket.gethostname().lower(), shards=default_shards())
    for source in (revive(inherited or {}), spec.model_dump(exclude_none=True), vars(flags)):
        known = {name: value for name, value in source.items() if name in {field.name for field in fields(Settings)}}
        settings = replace(settings, **known)
    settings = replace(settings, peers=tuple(settings.peers), policies=tuple(settings.policies))
    if spec.recorder is not None:
        settings = replace(settings, recorder=Recorder(spec.recorder.calls_max, spec.recorder.sample, tuple(spec.recorder.redact)))
    if settings.registry.startswith(REDIS) and not settings.policy_store:
        settings = replace(settings, policy_store=settings.registry)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if settings.listen and not settings.insecure:
        raise StartupError("--listen needs --insecure: TLS between daemons is not in this release; plaintext must be asked for")
    if settings.insecure and not settings.listen:
        raise StartupError("--insecure without --listen has no meaning; drop it, or say where to listen")
    for flag, addresses in (("--listen", [settings.listen]), ("--peer", settings.peers),
                            ("--advertise", [settings.advertise]), ("--metrics", [settings.metrics])):
        for address in filter(None, addresses):
            split_address(flag, address)
    if settings.registry and not settings.advertise and settings.listen.rpartition(":")[0].strip("[]") in WILDCARDS:
        raise StartupError(f"--listen {settings.listen} says not where others reach this daemon; add --advertise HOST:PORT")
    if settings.policy_store and not settings.policy_store.startswith(REDIS):
        raise StartupError(f"--policy-store {settings.policy_store}: use redis://HOST/DB, or unix:///SOCKET")
    if not 1 <= settings.shards <= 32:
        raise StartupError(f"--shards {settings.shards} is out of range; use 1 to 32")
    if not 0 <= settings.spin_us <= 1000:
        raise StartupError(f"--spin-us {settings.spin_us} is out of range; use 0 to 1000 microseconds")
    if not 0 <= settings.drain_timeout_s <= 3600:
        raise StartupError(f"--drain-timeout {settings.drain_timeout_s:g} is out of range; use 0 to 3600 seconds")


def split_address(flag: str, address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [HOST]:PORT. StartupError, naming `flag`."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise StartupError(f"{flag} {address}: write HOST:PORT, as 127.0.0.1:{LISTEN_PORT}")
    return host.strip("[]"), int(port)


def revive(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a predecessor wrote as JSON; those that this release does not know are left out."""
    recorder = saved.get("recorder", {})
    known = {field.name: recorder[field.name] for field in fields(Recorder) if field.name in recorder}
    return {**saved, "recorder": Recorder(**{**known, "redact": tuple(recorder.get("redact", ()))})}


def check_takeover(settings: Settings, inherited: Mapping[str, Any]) -> None:
    """StartupError for a change that only a cold restart can make: applications and peers were told otherwise."""
    for name in ("node", "shards", "listen"):
        if name in inherited and getattr(settings, name) != inherited[name]:
            raise StartupError(f"--takeover keeps --{name} {inherited[name] or '(none)'}; to change it, restart mrpcd without --takeover")


def changed_at_start_only(running: Settings, wanted: Settings) -> list[str]:
    """Names of settings that differ and that a running daemon cannot take over."""
    live = {"log_level", "drain_timeout_s", "recorder"}
    return [f.name for f in fields(Settings) if f.name not in live and getattr(running, f.name) != getattr(wanted, f.name)]
