from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "mrpcd.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit() -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(UNIT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "mrpcd.service:" not in done.stderr


def test_the_unit_shares_memory_with_other_users() -> None:
    """What must stay off for that, whoever tightens the unit next."""
    settings = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#"))
    assert settings["Type"] == "notify"
    assert settings["RuntimeDirectory"] == "mrpc"
    assert settings["RuntimeDirectoryMode"] == "0755"
    assert "PrivateUsers" not in settings
    assert "PrivateIPC" not in settings
    assert "AF_UNIX" in settings["RestrictAddressFamilies"]
