"""Fairness between tenants, decided by a model of time: threads wait, nothing sleeps."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest

from apps.vectordb.scheduler import COMPANY_S, FEW, HOLD_S, MANY, Line, QueueFull, Scheduler, WaitedTooLong


class Callers:
    """Threads that want a turn each. `order` is who got one, in that order; done() ends one call of a tenant."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._changed = threading.Condition()
        self.order: list[str] = []
        self._running: list[Line] = []
        self._threads: list[threading.Thread] = []

    def call(self, tenant: str) -> None:
        """Returns once the call runs or waits in line."""
        waiting, ran = self._scheduler.waiting, len(self.order)
        thread = threading.Thread(target=self._enter, args=(tenant,), daemon=True)
        self._threads.append(thread)
        thread.start()
        with self._changed:
            while self._scheduler.waiting == waiting and len(self.order) == ran:
                self._changed.wait(0.001)

    def done(self, tenant: str, cost_ns: int) -> None:
        """One call of the tenant ends; returns once whoever is next runs."""
        line = next(line for line in self._running if line.tenant == tenant)
        self._running.remove(line)
        waiting, ran = self._scheduler.waiting, len(self.order)
        self._scheduler.leave(line, cost_ns)
        with self._changed:
            while len(self.order) - ran < waiting - self._scheduler.waiting:
                self._changed.wait()

    def finish(self, cost_ns: int = 1) -> None:
        while self._running:
            self.done(self._running[0].tenant, cost_ns)
        for thread in self._threads:
            thread.join()

    def _enter(self, tenant: str) -> None:
        line = self._scheduler.enter(tenant)
        with self._changed:
            self.order.append(tenant)
            self._running.append(line)
            self._changed.notify_all()


def test_calls_run_at_once_while_there_is_room() -> None:
    callers = Callers(Scheduler(3, 10))
    for tenant in ("a", "a", "b"):
        callers.call(tenant)
    assert callers.order == ["a", "a", "b"]
    callers.finish()


def test_a_flood_leaves_a_slot_for_others() -> None:
    callers = Callers(Scheduler(3, 100))
    for _ in range(20):
        callers.call("flood")
    assert callers.order == ["flood"] * 2
    callers.call("small")
    assert callers.order[-1] == "small", "another's first call never waits for a flood's to end"
    callers.finish()
    assert Counter(callers.order) == {"flood": 20, "small": 1}


def test_in_company_a_flood_leaves_two() -> None:
    """And takes its slot back when the others have been silent for a while."""
    now = [100.0]
    scheduler = Scheduler(4, 100, clock=lambda: now[0])
    callers = Callers(scheduler)
    for _ in range(20):
        callers.call("flood")
    assert callers.order == ["flood"] * 3
    callers.call("small")
    callers.done("small", 1)
    callers.done("flood", 1)
    assert Counter(callers.order) == {"flood": 3, "small": 1}, "two run, and the one that ended is not replaced"
    callers.done("flood", 1)
    assert Counter(callers.order) == {"flood": 4, "small": 1}
    now[0] += COMPANY_S
    callers.done("flood", 1)
    assert Counter(callers.order) == {"flood": 6, "small": 1}, "it is alone again: three run"
    callers.finish()


def test_a_tenant_with_several_calls_gives_way_in_company() -> None:
    now = [100.0]
    scheduler = Scheduler(4, 10, clock=lambda: now[0])
    first, second = (scheduler.enter("flood") for _ in range(2))
    assert not scheduler.crowds("flood"), "there is nobody to give way to"
    scheduler.leave(scheduler.enter("small"), 1)
    assert scheduler.crowds("flood")
    assert not scheduler.crowds("small")
    now[0] += COMPANY_S
    assert not scheduler.crowds("flood"), "the other has been silent for so long"
    scheduler.leave(scheduler.enter("small"), 1)
    scheduler.leave(first, 1)
    assert not scheduler.crowds("flood"), "one call at a time is no flood"
    scheduler.leave(second, 1)


def test_a_batch_goes_in_pieces_and_has_other_threads_while_it_is_alone() -> None:
    scheduler = Scheduler(4, 10, batch_threads=8, clock=lambda: 100.0)
    pace = scheduler.pace("flood")
    first = scheduler.enter("flood")
    assert pace() == (MANY, 8)
    small = scheduler.enter("small")
    assert pace() == (MANY, 1), "another call runs"
    second = scheduler.enter("flood")
    assert pace() == (FEW, 1), "it stands aside between pieces"
    for line in (second, small):
        scheduler.leave(line, 1)
    assert pace() == (MANY, 8)
    scheduler.leave(first, 1)


def test_turns_follow_what_calls_cost() -> None:
    """Ten times dearer calls get a tenth of the turns."""
    callers = Callers(Scheduler(2, 400))
    callers.call("holder")  # one slot stays taken, so that the other decides
    for _ in range(80):
        callers.call("dear")
        callers.call("cheap")
    began = len(callers.order)
    cost = {"dear": 100, "cheap": 10}
    for _ in range(66):
        callers.done(callers.order[-1], cost[callers.order[-1]])
    turns = Counter(callers.order[began:])
    assert turns["cheap"] == pytest.approx(60, abs=2) and turns["dear"] == pytest.approx(6, abs=2)
    callers.finish()


def test_weights_share() -> None:
    callers = Callers(Scheduler(2, 400, weight={"gold": 3.0, "silver": 1.0, "holder": 1.0}.__getitem__))
    callers.call("holder")
    for _ in range(50):
        callers.call("gold")
        callers.call("silver")
    began = len(callers.order)
    for _ in range(40):
        callers.done(callers.order[-1], 10)
    assert Counter(callers.order[began:])["gold"] == pytest.approx(30, abs=2)
    callers.finish()


def test_a_rest_is_not_made_up_for_after_all_have_rested() -> None:
    """When nothing runs all start alike: what a tenant took before does not put it behind one that comes later."""
    scheduler = Scheduler(2, 400)
    scheduler.leave(scheduler.enter("busy"), 1000)
    callers = Callers(scheduler)
    for tenant in ("holder", "busy", "late", "busy", "late"):
        callers.call(tenant)
    for _ in range(2):
        callers.done(callers.order[-1], 10)
    assert callers.order[:4] == ["holder", "busy", "late", "busy"]
    callers.finish()


def test_rest_saves_nothing_up() -> None:
    """A tenant that comes late does not get all the turns that it did not take."""
    callers = Callers(Scheduler(2, 400))
    callers.call("holder")
    for _ in range(40):
        callers.call("busy")
    for _ in range(20):
        callers.done("busy", 10)
    for _ in range(20):
        callers.call("late")
    began = len(callers.order)
    for _ in range(20):
        callers.done(callers.order[-1], 10)
    assert Counter(callers.order[began:])["busy"] >= 9
    callers.finish()


def test_a_flood_fills_half_of_the_line_and_a_newcomer_still_waits_in_it() -> None:
    scheduler = Scheduler(2, 20)
    callers = Callers(scheduler)
    callers.call("flood")
    callers.call("other")
    for _ in range(10):
        callers.call("flood")
    with pytest.raises(QueueFull):
        scheduler.enter("flood")
    callers.call("other")
    assert scheduler.waiting == 11
    callers.finish()
    assert scheduler.waiting == 0


def test_refused_calls_are_held_first_as_many_as_may_be() -> None:
    held, go, refused = threading.Semaphore(0), threading.Event(), []

    def pause(seconds: float) -> None:
        assert seconds == HOLD_S
        held.release()
        assert go.wait(30)

    scheduler = Scheduler(2, 2, held_max=1, pause=pause)
    callers = Callers(scheduler)
    callers.call("flood")
    callers.call("flood")

    def call() -> None:
        with pytest.raises(QueueFull):
            scheduler.enter("flood")
        refused.append(None)

    first = threading.Thread(target=call)
    first.start()
    held.acquire()
    call()
    assert len(refused) == 1, "the second is refused while the first is held"
    callers.call("small")
    assert callers.order == ["flood", "small"], "others need not wait for them"
    go.set()
    first.join()
    assert len(refused) == 2
    callers.finish()


def test_a_deadline_ends_the_wait_and_leaves_nothing_behind() -> None:
    scheduler = Scheduler(2, 4)
    first = scheduler.enter("a")
    with pytest.raises(WaitedTooLong):
        scheduler.enter("a", lambda: 0.0)
    assert scheduler.waiting == 0
    scheduler.leave(first, 1)
    scheduler.leave(scheduler.enter("a", lambda: 0.0), 1)


@pytest.mark.parametrize(("slots", "queue_max"), [(1, 10), (2, 1)])
def test_too_small_a_scheduler_is_refused(slots: int, queue_max: int) -> None:
    with pytest.raises(ValueError, match="at least 2 slots"):
        Scheduler(slots, queue_max)


def test_any_interleaving_lets_everybody_through() -> None:
    """Random tenants and threads: never more than the slots, never all of them by one, and all end."""
    scheduler, slots = Scheduler(3, 64), 3
    guard, running, worst, done = threading.Lock(), Counter[str](), Counter[str](), Counter[str]()

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(200):
            tenant = dice.choice("aabc")
            line = scheduler.enter(tenant)
            with guard:
                running[tenant] += 1
                worst["all"] = max(worst["all"], running.total())
                worst[tenant] = max(worst[tenant], running[tenant])
            with guard:
                running[tenant] -= 1
                done[tenant] += 1
            scheduler.leave(line, dice.randrange(1000))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.total() == 1600 and scheduler.waiting == 0
    assert worst["all"] <= slots and max(worst[tenant] for tenant in "abc") < slots
