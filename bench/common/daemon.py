"""What a running daemon says of itself, by its command-line tool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def ask(runtime_dir: Path, *words: str) -> Any:
    """The JSON that `mrpc WORDS` prints. Raises CalledProcessError."""
    command = [sys.executable, "-m", "mrpc_service.cli", "--runtime-dir", str(runtime_dir), *words, "-o", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
