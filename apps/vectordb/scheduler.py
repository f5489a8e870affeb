"""Whose call runs next: fair between tenants by the processor time that their calls took.

Start-time fair queueing, charged when a call ends. Each tenant has a tag, its virtual time: the processor time that its calls
took, over its weight. Of the tenants that wait, the one with the lowest tag goes next. A tenant that comes back after a rest
starts at the tag of the last call that was let in, so that nobody saves up, and when nothing runs or waits all start alike.

Two more rules bound what a flood does to others. A tenant holds all slots but one at most, so that another's first call never
waits for a flood's call to end; all but two while others call, too: with one slot more than there are processors, a small
tenant then finds a processor that is free, at the price of what the flood could have done on it. And a tenant may have as
many calls waiting as there is room left for others (a dynamic threshold): one flood fills half of the room, two a third each,
so that a newcomer finds a thread to wait on. A call that finds no room is refused, and so that its caller does not try again at
once, ten thousand times a second, it is held for a while first; as many as there are threads for.

What no order of calls can bound is done by the calls themselves: a batch of searches of a tenant that has several calls runs in
pieces, and between two of them it sleeps for a moment while others call, too. Whoever wakes is put behind a thread that runs,
even beside an idle processor, and may be left there until the kernel's next tick, 4 ms; so no thread runs for long. A batch
that nobody else's call runs or waits beside may have the other processors as well, a piece at a time.
"""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep

COMPANY_S = 0.2
"""How long a tenant that has called counts as company."""
ASIDE_S = 50e-6
"""How long a call stands aside between its parts: long enough that whoever waits for the processor, or for Python, gets it."""
HOLD_S = 0.05
"""How long a call is held before it is refused. Refusals tell callers to pause for as long."""
FEW, MANY = 4, 64
"""Queries of a piece of a batch: of a tenant that stands aside between two, and of another."""
LINES_MAX = 1024
"""Lines of tenants at rest that are kept, so that not every call makes one."""


class QueueFull(Exception):
    """The tenant has too many calls waiting already."""


class WaitedTooLong(Exception):
    """The call's deadline passed while it waited for its turn."""


def stand_aside() -> None:
    sleep(ASIDE_S)


@dataclass(slots=True)
class Line:
    """One tenant's calls: those that run, those that wait, and its virtual time in nanoseconds."""
    tenant: str
    weight: float
    tag_ns: float
    running: int = 0
    waiting: deque[threading.Lock] = field(default_factory=deque)


class Pace:
    """That of one batch of a tenant: asked before each of its pieces, how many queries it has and on how many threads it runs."""

    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler, self._tenant, self._begun = scheduler, tenant, False

    def __call__(self) -> tuple[int, int]:
        begun, self._begun = self._begun, True
        if not self._scheduler.crowds(self._tenant):
            return MANY, self._scheduler.free_threads
        if begun:
            stand_aside()
        return FEW, 1


class Scheduler:
    """`line = scheduler.enter(tenant)`, then the work, then `scheduler.leave(line, cost_ns)`.

    slots: calls that run at once. queue_max, held_max: calls of all tenants that wait, and that are held before they are refused,
    at most; each of them keeps a thread. weight: a tenant's share, relative to others', asked when it has no line yet.
    batch_threads: on how many a call may run that is alone. clock: seconds. pause: sleeps. Thread-safe.
    """

    def __init__(self, slots: int, queue_max: int, weight: Callable[[str], float] = lambda tenant: 1.0, held_max: int = 0,
                 batch_threads: int = 1, clock: Callable[[], float] = monotonic, pause: Callable[[float], None] = sleep) -> None:
        if slots < 2 or queue_max < 2:
            raise ValueError("a scheduler has at least 2 slots, one of them for other tenants, and room for 2 that wait")
        self._slots, self._queue_max, self._weight, self._clock = slots, queue_max, weight, clock
        self._batch_threads = batch_threads
        self._free_holds, self._pause = threading.Semaphore(held_max), pause
        self._latest, self._latest_s, self._before_s = "", -COMPANY_S, -COMPANY_S
        self._guard = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._running = self._waiting = 0
        self._virtual_ns = self._highest_ns = 0.0

    def enter(self, tenant: str, remaining_s: Callable[[], float | None] = lambda: None) -> Line:
        """Returns when the call may run, at once when there is a free slot. QueueFull; WaitedTooLong after remaining_s(), which is
        asked for only when it must wait."""
        with self._guard:
            self._note_caller(tenant)
            line = self._lines.get(tenant) or self._new_line(tenant)
            if not line.waiting:
                if not line.running and line.tag_ns < self._virtual_ns:
                    line.tag_ns = self._virtual_ns
                if self._may_run(line):
                    self._let_in(line)
                    return line
            full = len(line.waiting) >= self._queue_max - self._waiting
            if not full:
                turn = threading.Lock()
                turn.acquire()
                line.waiting.append(turn)
                self._waiting += 1
        timeout_s = remaining_s()
        if full:
            self._hold(timeout_s)
            raise QueueFull(tenant)
        if not turn.acquire(timeout=-1 if timeout_s is None else min(timeout_s, threading.TIMEOUT_MAX)):
            self._give_up(line, turn)
        return line

    def leave(self, line: Line, cost_ns: int) -> None:
        """The call has ended after cost_ns of processor time."""
        with self._guard:
            line.running -= 1
            line.tag_ns += cost_ns / line.weight
            if line.tag_ns > self._highest_ns:
                self._highest_ns = line.tag_ns
            self._running -= 1
            while self._waiting and self._wake_next():
                pass
            if not self._running:
                self._start_alike()

    def pace(self, tenant: str) -> Pace:
        """That of a batch of the tenant, whose call runs."""
        return Pace(self, tenant)

    def crowds(self, tenant: str) -> bool:
        """Whether the tenant has several calls while others call, too."""
        line = self._lines.get(tenant)
        return line is not None and line.running + len(line.waiting) > 1 and self._in_company(tenant)

    @property
    def free_threads(self) -> int:
        """On how many threads the call that asks may run: several while no other runs or waits."""
        return self._batch_threads if self._running + self._waiting < 2 else 1

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._waiting

    def _new_line(self, tenant: str) -> Line:
        line = self._lines[tenant] = Line(tenant, self._weight(tenant), self._virtual_ns)
        return line

    def _start_alike(self) -> None:
        """No tag is higher than the virtual time at which everybody starts from now on."""
        self._virtual_ns = self._highest_ns
        if len(self._lines) > LINES_MAX:
            self._lines.clear()

    def _note_caller(self, tenant: str) -> None:
        """Keeps who called last, and when the last other one did."""
        if tenant != self._latest:
            self._latest, self._before_s = tenant, self._latest_s
        self._latest_s = self._clock()

    def _may_run(self, line: Line) -> bool:
        if line.running == 0:
            return self._running < self._slots
        return self._running < self._slots and line.running < self._slots - (2 if self._in_company(line.tenant) else 1)

    def _in_company(self, tenant: str) -> bool:
        """Whether another has called of late."""
        return self._clock() - (self._before_s if tenant == self._latest else self._latest_s) < COMPANY_S

    def _let_in(self, line: Line) -> None:
        line.running += 1
        self._running += 1
        if line.tag_ns > self._virtual_ns:
            self._virtual_ns = line.tag_ns

    def _hold(self, timeout_s: float | None) -> None:
        """Keeps the thread of a call that is to be refused, if there are enough."""
        if self._free_holds.acquire(blocking=False):
            self._pause(HOLD_S if timeout_s is None else min(timeout_s, HOLD_S))
            self._free_holds.release()

    def _wake_next(self) -> bool:
        """Lets in the first call of the line whose turn it is; whether there was one that may run."""
        ready = [line for line in self._lines.values() if line.waiting and self._may_run(line)]
        if ready:
            line = min(ready, key=lambda line: line.tag_ns)
            self._let_in(line)
            self._waiting -= 1
            line.waiting.popleft().release()
        return bool(ready)

    def _give_up(self, line: Line, turn: threading.Lock) -> None:
        with self._guard:
            if turn in line.waiting:
                line.waiting.remove(turn)
                self._waiting -= 1
                raise WaitedTooLong(line.tenant)
            # Its turn came in the same moment: it runs.

