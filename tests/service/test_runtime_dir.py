from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mrpc_service import runtime_dir
from mrpc_service.errors import StartupError
from mrpc_service.runtime_dir import RuntimeDir

from .conftest import needs_root


def test_flag_then_environment_then_user_choose_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"MRPC_RUNTIME_DIR": "/e", "XDG_RUNTIME_DIR": "/x"}
    assert runtime_dir.locate("/f", environ).path == Path("/f")
    assert runtime_dir.locate(None, environ).path == Path("/e")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_dir.locate(None, {"XDG_RUNTIME_DIR": "/x"}).path == Path("/run/mrpc")
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert runtime_dir.locate(None, {"XDG_RUNTIME_DIR": "/x"}).path == Path("/x/mrpc")
    assert runtime_dir.locate(None, {}).path == Path("/run/user/1001/mrpc")


def test_state_of_a_daemon_in_its_own_directory_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_dir.locate_state("/s", "/r", {}) == Path("/s")
    assert runtime_dir.locate_state(None, "/r", {}) == Path("/r/state")
    unit = {"MRPC_RUNTIME_DIR": "/r", "STATE_DIRECTORY": "/unit/mrpc"}
    assert runtime_dir.locate_state(None, None, unit) == Path("/unit/mrpc")
    assert runtime_dir.locate_state(None, None, {}) == Path("/var/lib/mrpc")
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert runtime_dir.locate_state(None, None, {"XDG_STATE_HOME": "/h"}) == Path("/h/mrpc")


@pytest.mark.parametrize("release", ["6.5.0", "6.18.44-generic", "7.0-rc1", "10.1"])
def test_a_new_kernel_will_do(release: str) -> None:
    runtime_dir.check_kernel(release)


@pytest.mark.parametrize("release", ["6.4.99", "5.15.0-1-amd64", "4.19", "strange"])
def test_an_old_kernel_is_told_what_is_needed(release: str) -> None:
    with pytest.raises(StartupError, match=r"needs 6\.5 or later"):
        runtime_dir.check_kernel(release)


def test_directories_have_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path / "mrpc")
    mask = os.umask(0o077)
    try:
        runtime_dir.prepare(runtime)
    finally:
        os.umask(mask)
    assert runtime.path.stat().st_mode & 0o777 == 0o755
    assert runtime.operator_dir.stat().st_mode & 0o777 == 0o700
    runtime.operator_dir.chmod(0o777)
    runtime_dir.prepare(runtime)
    assert runtime.operator_dir.stat().st_mode & 0o777 == 0o700


def test_a_link_or_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="cannot use directory|is not a directory"):
        runtime_dir.prepare(RuntimeDir(tmp_path / "file"))
    runtime = RuntimeDir(tmp_path / "mrpc")
    runtime.path.mkdir()
    (tmp_path / "elsewhere").mkdir()
    runtime.operator_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartupError, match="is not a directory"):
        runtime_dir.prepare(runtime)


@needs_root
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path / "mrpc")
    runtime.path.mkdir()
    os.chown(runtime.path, 12345, 12345)
    with pytest.raises(StartupError, match="belongs to uid 12345"):
        runtime_dir.prepare(runtime)


def test_the_lock_has_one_holder_and_names_it(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    assert runtime_dir.holder_pid(runtime) is None
    fd = runtime_dir.lock(runtime)
    assert runtime_dir.holder_pid(runtime) == os.getpid()
    with pytest.raises(StartupError, match=rf"another mrpcd \(pid {os.getpid()}\) already serves"):
        runtime_dir.lock(runtime)
    os.close(fd)
    assert runtime_dir.holder_pid(runtime) is None
    os.close(runtime_dir.lock(runtime))


def test_only_stale_sockets_are_removed(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    runtime_dir.prepare(runtime)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(runtime.app_socket))
    assert runtime_dir.remove_stale_sockets(runtime) == [runtime.app_socket]
    assert runtime_dir.remove_stale_sockets(runtime) == []
    runtime.app_socket.write_text("precious")
    with pytest.raises(StartupError, match="is not a socket"):
        runtime_dir.remove_stale_sockets(runtime)
    assert runtime.app_socket.read_text() == "precious"


def test_a_path_that_no_socket_can_have_is_refused_before_anything_is_made(tmp_path):
    deep = tmp_path / ("d" * 100)
    with pytest.raises(StartupError, match="shorter --runtime-dir"):
        runtime_dir.prepare(RuntimeDir(deep))
    assert not deep.exists()
