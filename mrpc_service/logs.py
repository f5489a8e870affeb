"""The daemon's log: to stderr, and the last lines in memory for `mrpc logs`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

DAEMON = "mrpcd"  # the daemon's loggers are this one and those under it
LINES_KEPT = 2000
LINE_CHARACTERS_MAX = 4000  # a line is cut here, so that the ring's memory is bounded
LEVELS = ("debug", "info", "warning", "error")
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


@dataclass(frozen=True)
class Line:
    sequence: int
    at_unix_s: float
    level: str
    logger: str
    text: str


class LogRing(logging.Handler):
    """Keeps the last lines; `follow` waits for those to come. Records may come from any thread."""

    def __init__(self, lines_kept: int = LINES_KEPT) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=lines_kept)
        self._sequence = 0
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        # logging.Handler.handle holds self.lock here.
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._sequence += 1
        level = record.levelname.lower()
        self._lines.append(Line(self._sequence, record.created, level, record.name, text[:LINE_CHARACTERS_MAX]))
        for loop, event in self._waiters:
            loop.call_soon_threadsafe(event.set)

    def since(self, sequence: int) -> list[Line]:
        """Kept lines whose sequence is greater."""
        with self.lock:
            return [line for line in self._lines if line.sequence > sequence]

    def tail(self, count: int) -> list[Line]:
        """The last `count` kept lines; all of them for 0."""
        with self.lock:
            return list(self._lines)[-count:]

    async def follow(self, sequence: int) -> AsyncIterator[Line]:
        """Lines after `sequence`, as they come, for ever. A reader that is too slow misses lines; sequences tell it."""
        event = asyncio.Event()
        waiter = (asyncio.get_running_loop(), event)
        with self.lock:
            self._waiters.add(waiter)
        try:
            while True:
                event.clear()
                for line in self.since(sequence):
                    yield line
                    sequence = line.sequence
                await event.wait()
        finally:
            with self.lock:
                self._waiters.discard(waiter)


def install(level: str) -> LogRing:
    """Send all loggers to stderr and into a new ring: the daemon's own from `level` on, libraries' warnings and errors."""
    ring = LogRing()
    stderr = logging.StreamHandler()
    stderr.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level="WARNING", handlers=[stderr, ring], force=True)
    set_level(level)
    return ring


def set_level(level: str) -> None:
    logging.getLogger(DAEMON).setLevel(level.upper())


def current_level() -> str:
    return logging.getLevelName(logging.getLogger(DAEMON).level).lower()
