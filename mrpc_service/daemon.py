"""mrpcd: `mrpcd`, or `python -m mrpc_service.daemon`. Starts, serves, drains; what it does in between is control_plane.py."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from mrpc_service import __version__, logs, runtime_dir, systemd
from mrpc_service import settings as settings_module
from mrpc_service.errors import ConfigError, StartupError
from mrpc_service.takeover.predecessor import Held, Predecessor
from mrpc_service.takeover.successor import Successor

log = logging.getLogger("mrpcd")


def main(argv: list[str] | None = None) -> int:
    """Run a daemon until it is told to stop; the exit code."""
    flags = settings_module.parser().parse_args(argv)
    if getattr(flags, "version", False):
        print(f"mrpcd {__version__}")
        return 0
    try:
        asyncio.run(run(flags))
    except (StartupError, ConfigError) as error:
        for line in str(error).splitlines():
            print(f"mrpcd: {line}", file=sys.stderr)
        return 1
    except sqlite3.OperationalError as error:
        print(f"mrpcd: cannot write the state directory: {error}; make room on its disk, or pass --state-dir DIR", file=sys.stderr)
        return 1
    return 0


async def run(flags: argparse.Namespace) -> None:
    """Start, in an order in which every failure leaves nothing behind; serve until a signal comes; stop.

    Raises StartupError and ConfigError."""
    from mrpc_service import documents
    from mrpc_service.chains.apply import ChainKeeper
    from mrpc_service.chains.binding import Binder
    from mrpc_service.chains.programs import ProgramLibrary
    from mrpc_service.chains.store import RevisionStore
    from mrpc_service.control.server import bind as bind_control
    from mrpc_service.control.server import serve as serve_control
    from mrpc_service.control.servicer import ControlServicer
    from mrpc_service.control_plane import ControlPlane
    from mrpc_service.policy.compiler import Compiler
    from mrpc_service.policy.leases import LeaseKeeper, RedisBudgets
    from mrpc_service.registry import Registry

    runtime_dir.check_kernel(os.uname().release)
    runtime = runtime_dir.locate(flags.runtime_dir)
    state_dir = runtime_dir.locate_state(flags.state_dir, flags.runtime_dir)
    successor = connect_predecessor(runtime) if flags.takeover else None
    inherited = successor.settings if successor else None
    config = flags.config or (successor.config if successor else [])
    loaded = documents.read(config)
    settings = settings_module.merge(flags, loaded.daemon, inherited)
    if inherited is not None:
        settings_module.check_takeover(settings, inherited)
    ring = logs.install(settings.log_level)
    async with contextlib.AsyncExitStack() as stack:
        runtime_dir.prepare(runtime)
        lock_fd = -1
        if successor is None:
            lock_fd = runtime_dir.lock(runtime)
            stack.callback(os.close, lock_fd)
            for path in runtime_dir.remove_stale_sockets(runtime):
                log.info("removed %s, left by a daemon that died", path)
        runtime_dir.make_directory(state_dir, 0o700)
        registry = Registry(state_dir / "mrpcd.db", reset=flags.reset_store)
        dataplane = make_dataplane(runtime, settings)
        if successor is None:
            start_dataplane(dataplane, runtime)
            stack.callback(runtime_dir.remove_sockets, runtime)
        compiler = Compiler(state_dir / "compiled")
        stack.push_async_callback(compiler.close)
        plane = ControlPlane(
            settings=settings, read_settings=lambda read: settings_module.merge(flags, read.daemon, inherited), config=config,
            runtime=runtime, state_dir=state_dir, dataplane=dataplane, registry=registry, log_ring=ring,
            chains=ChainKeeper(dataplane, Binder(compiler), RevisionStore(registry.db)),
            library=ProgramLibrary(compiler, [*map(Path, settings.policies), state_dir / "policies"]),
            leases=LeaseKeeper(dataplane, RedisBudgets(settings.policy_store) if settings.policy_store else None),
        )
        servicer = ControlServicer(plane)
        if successor is None:
            held = Held(lock_fd, bind_control(runtime))
        else:
            held = await take_over(successor, plane, loaded, flags, stack)
        control = await serve_control(held.control, servicer)
        stack.callback(control.close)
        stack.push_async_callback(plane.stop)  # before control is closed: operators can watch the drain
        if successor is None:
            await plane.start(loaded, config_only=flags.config_only, reset_store=flags.reset_store)
        else:
            plane.resume(successor.inherited.listening)
        await serve(plane, held, successor, stack)


def connect_predecessor(runtime: runtime_dir.RuntimeDir) -> Successor:
    """StartupError, which says what to do, when nobody is there or the two do not fit."""
    return Successor(runtime, native_module().TAKEOVER_VERSIONS)


async def take_over(
    successor: Successor, plane: Any, loaded: Any, flags: argparse.Namespace, stack: contextlib.AsyncExitStack
) -> Held:
    """The hand-over, up to the point where this process serves. StartupError: the predecessor does."""
    plane.chains.schemas = successor.schemas
    await plane.prepare(loaded, cause="takeover", config_only=flags.config_only)
    inherited = successor.take_over(plane.dataplane)
    plane.push_identities()  # the predecessor may have learnt of some meanwhile
    plane.push_owners()
    plane.dataplane.start()
    plane.takeovers, plane.takeover_pause_ns = successor.generation, time.monotonic_ns() - inherited.frozen_ns
    plane.chains.schemas = plane.dataplane.schemas
    runtime_dir.sign(inherited.lock_fd)
    stack.callback(os.close, inherited.lock_fd)
    stack.callback(runtime_dir.remove_sockets, plane.runtime)
    log.info("took over from pid %d; all stood still for %.1f ms", successor.predecessor_pid, plane.takeover_pause_ns / 1e6)
    return Held(inherited.lock_fd, inherited.control, inherited.metrics)


def native_module() -> Any:
    try:
        from mrpc_service import _dataplane
    except ImportError as error:
        raise StartupError(f"the native data plane cannot be loaded ({error}); build it with 'make build', or 'pip install .'") from None
    return _dataplane


def make_dataplane(runtime: runtime_dir.RuntimeDir, settings: settings_module.Settings) -> Any:
    return native_module().Dataplane(
        socket_path=str(runtime.app_socket), node=settings.node, shards=settings.shards,
        message_bytes_max=settings.message_bytes_max, send_quota_bytes=settings.send_quota_bytes,
        receive_quota_bytes=settings.receive_quota_bytes, spin_us=settings.spin_us,
    )


def start_dataplane(dataplane: Any, runtime: runtime_dir.RuntimeDir) -> None:
    try:
        dataplane.start()
        runtime.app_socket.chmod(0o666)  # applications of every user; the data plane knows each by its credentials
    except (OSError, RuntimeError) as error:
        raise StartupError(f"cannot serve {runtime.app_socket}: {error}; choose another --runtime-dir") from None


async def serve(plane: Any, held: Held, successor: Successor | None, stack: contextlib.AsyncExitStack) -> None:
    """Open what else was asked for, say that all stands, and wait for a signal."""
    stop = watch_signals(plane)
    try:
        if plane.settings.metrics:
            start_metrics(plane, held, successor, stack)
        if plane.settings.registry:
            await start_discovery(plane, held, successor, stack)
    except StartupError as error:
        if successor is None:
            raise
        log.error("%s", error)  # calls are served already, and go on
    versions, generation = native_module().TAKEOVER_VERSIONS, successor.generation if successor else 0
    stack.callback(Predecessor(plane, held, versions, generation).close)
    print(f"mrpcd ready at {plane.runtime.path} (pid {os.getpid()})", flush=True)
    systemd.notify(f"READY=1\nMAINPID={os.getpid()}")
    await stop.wait()
    systemd.notify("STOPPING=1")
    log.info("draining: open calls have %g s", plane.settings.drain_timeout_s)


def watch_signals(plane: Any) -> asyncio.Event:
    """The event of SIGTERM or SIGINT; a second one ends the process. SIGHUP reloads, SIGUSR2 starts a successor."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    under_way: set[asyncio.Task[None]] = set()

    def on_stop() -> None:
        if stop.is_set():
            log.warning("second signal: not waiting for open calls")
            os._exit(1)
        stop.set()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: begin(reload_quietly(plane)))
    loop.add_signal_handler(signal.SIGUSR2, lambda: begin(start_successor()))
    return stop


async def start_successor() -> None:
    """Have the mrpcd that is installed now take over, with this one's flags, in its cgroup and name spaces. Returns only if it does not."""
    command = [sys.executable, "-m", "mrpc_service.daemon", *sys.argv[1:], "--takeover"]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    log.warning("the successor (pid %d) ended with %d", process.pid, await process.wait())


async def reload_quietly(plane: Any) -> None:
    """A reload that nobody waits for: the control plane has logged why it failed."""
    with contextlib.suppress(ConfigError):
        await plane.reload("SIGHUP", os.geteuid())


def start_metrics(plane: Any, held: Held, successor: Successor | None, stack: contextlib.AsyncExitStack) -> None:
    from mrpc_service import metrics

    host, port = settings_module.split_address("--metrics", plane.settings.metrics)
    same = successor is not None and successor.settings.get("metrics") == plane.settings.metrics
    try:
        server = metrics.serve(plane.dataplane, plane.leases, plane.chains, host, port, held.metrics if same else None)
    except OSError as error:
        reason = error.strerror or error
        raise StartupError(f"cannot serve metrics on {plane.settings.metrics}: {reason}; choose another --metrics") from None
    held.metrics = server.socket
    stack.callback(server.shutdown)
    log.info("metrics on http://%s/metrics", plane.settings.metrics)


async def start_discovery(plane: Any, held: Held, successor: Successor | None, stack: contextlib.AsyncExitStack) -> None:
    from mrpc_service.discovery import Joiner, open_directory

    directory = await asyncio.to_thread(open_directory, plane.settings.registry)
    address = plane.settings.advertise or plane.listening
    joiner = Joiner(directory, plane.dataplane, plane.settings.node, address)
    if successor is not None:
        joiner.inherit(successor.inherited.joined)
    held.joined = joiner.joined
    task = asyncio.get_running_loop().create_task(joiner.run())
    stack.push_async_callback(joiner.leave)
    stack.callback(task.cancel)


if __name__ == "__main__":
    sys.exit(main())
