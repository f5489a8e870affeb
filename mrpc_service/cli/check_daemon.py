"""Whether a daemon serves this host, is set up with care, and carries a call."""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grpclib.const import Status

from mrpc_service import __version__
from mrpc_service.cli.findings import Finding, failed, passed, warned
from mrpc_service.control.client import ControlClient, ControlError
from mrpc_service.runtime_dir import RuntimeDir, holder_pid

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def findings(runtime: RuntimeDir) -> Iterator[Finding]:
    attach = app_socket(runtime)
    yield attach
    yield from other_daemons(runtime)
    yield from asked(runtime)
    if attach.result == "PASS":
        from mrpc_service.cli.round_trip import round_trip

        yield round_trip(runtime)


def app_socket(runtime: RuntimeDir) -> Finding:
    """Can this user's applications reach the daemon?"""
    test, path = "app.sock", runtime.app_socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(str(path))
        except FileNotFoundError:
            return failed(test, f"no mrpcd at {runtime.path}", "start it with 'mrpcd'")
        except ConnectionRefusedError:
            return failed(test, f"{path} is left from a daemon that died", "start mrpcd; it replaces the socket")
        except OSError as error:
            return failed(test, f"{path}: {error.strerror}", "it must be open to all users: restart mrpcd, which sets its modes")
    return passed(test, f"{path} takes applications of this user")


def other_daemons(runtime: RuntimeDir) -> Iterator[Finding]:
    """Applications that were not told of a directory may go to another daemon."""
    defaults = {Path("/run/mrpc"), Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}", "mrpc")}
    for path in sorted(defaults - {runtime.path}):
        pid = holder_pid(RuntimeDir(path))
        if pid is not None:
            mend = f"stop one of them, or set MRPC_RUNTIME_DIR={runtime.path} for the applications that belong here"
            yield warned("second daemon", f"mrpcd (pid {pid}) serves {path} too", mend)


def asked(runtime: RuntimeDir) -> Iterator[Finding]:
    """What the daemon tells an operator."""
    try:
        with ControlClient(runtime) as client:
            status, snapshot = client.call("GetStatus"), client.call("GetSnapshot")
    except ControlError as error:
        if error.code == Status.PERMISSION_DENIED:
            yield warned("control.sock", str(error), "run 'mrpc check' as an operator for the tests of the daemon's settings")
        else:
            yield failed("control.sock", str(error), "start mrpcd, or see its log for why it does not answer")
        return
    yield passed("control.sock", f"mrpcd {status.version} (pid {status.pid}) is {status.state}")
    yield version(status)
    yield configuration(status)
    yield listener(status)
    yield metrics_endpoint(status)
    yield identities(snapshot)
    yield from peers(snapshot)


def version(status: Any) -> Finding:
    if status.version != __version__:
        text = f"mrpcd is {status.version}, this program {__version__}"
        return warned("versions", text, "restart mrpcd, or install this program from the same release")
    return passed("versions", f"mrpcd and mrpc are {__version__}")


def configuration(status: Any) -> Finding:
    if status.config_error:
        return warned("configuration", f"the last reload was refused: {status.config_error}", "mend the file, then 'mrpc reload'")
    return passed("configuration", ", ".join(status.config) or "none; every setting has its default")


def listener(status: Any) -> Finding:
    if status.listen and status.insecure:
        text = f"{status.listen} takes daemons in plaintext: whoever reaches it can call, and read what passes"
        return warned("listener", text, "let only a trusted network reach it; TLS is not in this release")
    return passed("listener", "none; this daemon takes no connections from other hosts")


def metrics_endpoint(status: Any) -> Finding:
    host = status.metrics.rpartition(":")[0].strip("[]")
    if status.metrics and host not in LOOPBACK:
        return warned("metrics", f"open to other hosts at {status.metrics}", "use --metrics 127.0.0.1:PORT, or a firewall")
    return passed("metrics", f"http://{status.metrics}/metrics" if status.metrics else "by 'mrpc metrics' only")


def identities(snapshot: Any) -> Finding:
    """Applications of one uid that show no token cannot be told from each other."""
    labels: dict[str, set[str]] = defaultdict(set)
    for attached in snapshot.attachments:
        if attached.app == attached.principal:
            labels[attached.principal].add(attached.label)
    shared = [f"{', '.join(sorted(names))} are all {principal}" for principal, names in sorted(labels.items()) if len(names) > 1]
    if shared:
        mend = "give each its name: 'mrpc app register NAME --uid UID', and its token in MRPC_TOKEN"
        return warned("identities", f"{'; '.join(shared)}: rules cannot tell them apart", mend)
    return passed("identities", "no two unregistered applications share one")


def peers(snapshot: Any) -> Iterator[Finding]:
    for peer in snapshot.peers:
        if peer.error:
            yield warned("peer", f"{peer.address}: {peer.error}", "see that mrpcd listens there, and that it can be reached")
        else:
            yield passed("peer", f"{peer.node or peer.address} is {peer.state}")
