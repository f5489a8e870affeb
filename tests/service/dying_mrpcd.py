"""An mrpcd that is killed when an apply reaches a step: `python -m tests.service.dying_mrpcd STEP [flags of mrpcd]`."""

from __future__ import annotations

import os
import signal
import sys

from mrpc_service.chains.apply import ChainKeeper
from mrpc_service.daemon import main


def die_at(step: str, after_changes: int) -> None:
    """Let `after_changes` changes (the one of the start among them) pass, then die."""
    seen = 0

    def reached(at: str) -> None:
        nonlocal seen
        seen += at == step
        if at == step and seen > after_changes:
            os.kill(os.getpid(), signal.SIGKILL)

    ChainKeeper.reached = staticmethod(reached)


if __name__ == "__main__":
    die_at(sys.argv[1], after_changes=2)
    sys.exit(main(sys.argv[2:]))
