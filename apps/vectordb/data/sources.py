"""Where packaged data lies on this machine, and what to install when it does not."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path


class MissingSource(RuntimeError):
    """A package is not installed; the message says which, and how to get it."""


def debian(package: str, folder: str) -> Path:
    """The folder that this Debian package installs. MissingSource."""
    path = Path(folder)
    if not path.is_dir():
        raise MissingSource(f"{path} is not there: apt-get install --no-install-recommends {package}")
    return path


def python(package: str) -> Path:
    """The folder of this Python package, which is not imported. MissingSource."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingSource(f"the Python package {package} is not installed: pip install 'mrpc-mesh[vectordb]'")
    return Path(spec.submodule_search_locations[0])


def output(package: str, *command: str) -> str:
    """What a program of this Debian package prints. MissingSource when it is not there or fails."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, errors="replace").stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingSource(f"{' '.join(command)}: {error}: apt-get install {package}") from None
