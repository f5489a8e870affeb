"""`python -m bench.policy.burn SHARE`: a harmless program that uses SHARE (0 to 1) of a core until it is ended."""

from __future__ import annotations

import sys
import time

SLICE_S = 0.002


def main() -> None:
    share = float(sys.argv[1])
    print("ready", flush=True)
    owed, last = 0.0, time.monotonic()
    while True:
        now = time.monotonic()
        owed, last = min(1.0, owed + (now - last) * share), now
        if owed < SLICE_S:
            time.sleep(SLICE_S)
            continue
        began = time.thread_time()
        while time.thread_time() - began < SLICE_S:
            pass
        owed -= SLICE_S


if __name__ == "__main__":
    main()
