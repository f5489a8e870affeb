"""One shard: replicas that hold the same.

A *current* replica has every acknowledged write; which ones are is in the ledger. A write goes to one of them, the leader, and when that has
it to all others: what is refused is refused by the leader alone, and then no replica has it. A replica that does not answer as the leader
did is no longer current; that is on disk before the write is acknowledged. A leader that fails is struck off in the same way, and the
next one takes the write: it never saw it, so it is done once. The last current replica stays current whatever happens: there the
caller learns that nobody knows (Away).

A replica that is not current is emptied and copied owner by owner (copying.py). An owner's writes wait while it is copied; writes of owners that
were copied, and administrators', go to the copy, too. Reads go to the current replica with the fewest open calls, and to another when
that one cannot be reached.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from mrpc import RpcError

from ..database.errors import DatabaseError, Invalid
from ..transport import load
from . import copying
from .calls import Call
from .errors import Away, code_of
from .ledger import Ledger
from .order import Order
from .replica import Replica

WATCH_S = 0.2
PING_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S, SOLE_TIMEOUT_S = 8.0, 60.0
"""How long a replica may take for a write before it is given up, and the only one that is left. Not the caller's deadline: who calls may
not decide what is current."""
UNKNOWN = frozenset(("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED", "UNKNOWN", "DATA_LOSS", "ABORTED"))
"""Statuses after which a write may have been done."""
log = logging.getLogger(__name__)
Owner = tuple[str, str]
"""(collection, tenant)."""


class Group:
    """name: the shard's. changing: turns of administrators, who change several shards."""

    def __init__(self, name: str, replicas: list[Replica], ledger: Ledger, changing: Order) -> None:
        self.name, self.replicas, self._ledger, self._changing = name, replicas, ledger, changing
        self.order = Order()
        apps = ledger.replicas(name, [each.app for each in replicas])
        self._current = {each for each in replicas if each.app in apps}
        self._unsure = not ledger.was_clean and len(self._current) > 1
        self._guard = threading.RLock()
        self._copies: dict[Replica, set[Owner]] = {}  # of each copy under way: owners that it does not have yet
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"shard-{name}", daemon=True)

    # ---- beginning and ending

    def start(self) -> None:
        """Joins the replicas, and looks after them from now on. RpcError when a replica belongs to another router."""
        for each in self.replicas:
            if each in self._current:
                try:
                    self._join_current(each)
                except RpcError as error:
                    if code_of(error) not in UNKNOWN:
                        raise
        self._watcher.start()

    def stop(self) -> None:
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for each in self.replicas:
            each.close()

    def state(self, replica: Replica) -> str:
        with self._guard:
            if replica in self._copies:
                return "copying"
            return "stale" if replica not in self._current else "serving" if replica.is_serving else "away"

    # ---- reads

    def begin_read(self, method: str, request: Any, tenant: str, call: Call, app: str = "") -> Read:
        """app: only this replica. Away when none can be asked."""
        return Read(self, method, request, tenant, call, app)

    def pick(self, tried: Iterable[Replica], app: str = "") -> Replica:
        if app and all(each.app != app for each in self.replicas):
            raise Invalid("the cursor is not one that scroll gave to this tenant")
        with self._guard:
            found = [each for each in self._serving() if each not in tried and app in ("", each.app)]
            if not found:
                raise Away(f"no replica of shard {self.name!r} can be asked" if not app else
                           f"the replica of shard {self.name!r} that this began on is away: begin anew")
            least = min(found, key=lambda each: (each.open, each.reads))
            least.reads += 1
            return least

    def lost(self, replica: Replica) -> None:
        """It could not be reached: nothing is asked of it until it was joined again."""
        replica.is_serving = False

    # ---- writes

    def write(self, method: str, request: Any, tenant: str, owner: Owner, call: Call) -> Any:
        """A write of one owner's points, for the tenant. RpcError as the leader refuses; Away; WaitedTooLong."""
        with self.order.of(owner, call.remaining_s()):
            return self.apply(method, request, tenant, owner)

    def change(self, method: str, request: Any, call: Call) -> Any:
        """A change by the router itself. Errors as write()."""
        with self.order.alone(call.remaining_s()):
            return self.apply(method, request)

    def apply(self, method: str, request: Any, tenant: str = "", owner: Owner | None = None) -> Any:
        """The same for who has the turn."""
        with self._guard:
            timeout_s = WRITE_TIMEOUT_S if len(self._serving()) > 1 else SOLE_TIMEOUT_S
        return self.do(lambda replica: replica.begin(method, request, tenant, timeout_s), owner)

    def do(self, begin: Callable[[Replica], Any], owner: Owner | None) -> Any:
        """Does a write on all replicas. begin: starts it on one; a future, whose results must be equal. For who has the turn."""
        leader, reply = self._lead(begin)
        with self._guard:
            others = [each for each in self._serving() if each is not leader]
            copies = [each for each, missing in self._copies.items() if owner not in missing]
        begun = [(each, self._begun(begin, each)) for each in others + copies]
        have = {leader} | {each for each, future in begun if self._agrees(each, future, reply)}
        with self._guard:
            for each in copies:
                if each not in have:
                    self._copies.pop(each, None)
            if not self._current & have:
                self._give_up()
            self._keep(self._current & have)
        return reply

    def _lead(self, begin: Callable[[Replica], Any]) -> tuple[Replica, Any]:
        """The first current replica that takes the write or refuses it, and its reply."""
        while True:
            with self._guard:
                serving = self._serving()
            if not serving:
                raise Away(f"no replica of shard {self.name!r} with all writes can be reached")
            leader = serving[0]
            try:
                return leader, begin(leader).result()
            except RpcError as error:
                if code_of(error) not in UNKNOWN:
                    raise
                log.warning("shard %s: %s failed a write: %s", self.name, leader.app, error)
                self._depose(leader)

    def _depose(self, leader: Replica) -> None:
        """Nobody knows whether the leader did a write. Away when no other can take its place."""
        with self._guard:
            self.lost(leader)
            if not self._serving():
                self._give_up()
            self._keep(self._current - {leader})

    def _give_up(self) -> NoReturn:
        """Nobody knows what the last current replica has, so that no copy of it can be right either."""
        self._copies.clear()
        raise Away(f"shard {self.name!r} went away during the write: whether it was done is not known")

    def _begun(self, begin: Callable[[Replica], Any], replica: Replica) -> Any:
        try:
            return begin(replica)
        except RpcError:
            return None

    def _agrees(self, replica: Replica, future: Any, reply: Any) -> bool:
        """Whether the replica did what the leader did."""
        try:
            same = future is not None and (future.result() == reply or replica in self._copies)
            reason = "another reply than the leader's"
        except RpcError as error:
            same, reason = False, str(error)
        if not same:
            log.warning("shard %s: %s did not take a write: %s", self.name, replica.app, reason)
        return same

    def _serving(self) -> list[Replica]:
        """Current replicas that can be asked, in the order in which they lead."""
        return [each for each in self.replicas if each in self._current and each.is_serving]

    def _keep(self, current: set[Replica]) -> None:
        """Those alone are current from now on."""
        if current != self._current:
            self._ledger.set_current(self.name, [each.app for each in current])
            for each in self._current - current:
                self.lost(each)
            self._current = current

    # ---- replicas that come back

    def _watch(self) -> None:
        told: dict[Replica, str] = {}
        while not self._stop.wait(WATCH_S):
            for each in self.replicas:
                trouble = self._look_after(each)
                if trouble and trouble != told.get(each):
                    log.warning("shard %s: %s: %s", self.name, each.app, trouble)
                told[each] = trouble

    def _look_after(self, replica: Replica) -> str:
        """Joins it, or copies to it, as it needs; what is wrong with it."""
        try:
            if replica not in self._current:
                self._bring_up(replica)
            elif not replica.is_serving:
                self._join_current(replica)
            else:
                replica.begin("Collections.List", load("mrpc").pb.Empty(), "", PING_TIMEOUT_S).result()
        except RpcError as error:
            with self._guard:  # one that is slow is better than none
                if code_of(error) != "DEADLINE_EXCEEDED" or self._serving() not in ([], [replica]):
                    self.lost(replica)
            return str(error)
        except DatabaseError as error:
            return str(error)
        except Exception as error:
            log.exception("shard %s: %s cannot be brought up", self.name, replica.app)
            return str(error)
        return ""

    def _join(self, replica: Replica, *, empty: bool) -> None:
        replica.join(self._ledger.router, self._ledger.next_epoch(), empty)

    def _join_current(self, replica: Replica) -> None:
        """After an end of the router that was no clean one, one current replica stays so: another may have had a write that it had not."""
        self._join(replica, empty=False)
        with self._guard:
            if replica not in self._current:
                return
            if self._unsure:
                self._unsure = False
                self._keep({replica})
            replica.is_serving = True

    def _bring_up(self, replica: Replica) -> None:
        """Copies a current replica. RpcError; Away; ends without a result when the copy failed a write meanwhile."""
        with self._guard:
            if not self._serving():
                return
        self._join(replica, empty=True)
        began = time.monotonic()
        try:
            with self._changing.alone(), self.order.alone():
                source = self.pick(())
                missing = copying.outline(self._ledger, self.name, source, replica)
                with self._guard:
                    self._copies[replica] = missing
            for owner in list(missing):
                with self.order.of(owner):
                    if replica not in self._copies or self._stop.is_set():
                        return
                    copying.copy(owner, self.pick(()), replica)
                    missing.discard(owner)
            with self.order.alone(), self._guard:
                if self._copies.pop(replica, None) is not None:
                    self._keep(self._current | {replica})
                    replica.is_serving = True
                    log.info("shard %s: %s is current after %.1f s", self.name, replica.app, time.monotonic() - began)
        finally:
            with self._guard:
                self._copies.pop(replica, None)


class Read:
    """A read under way."""

    def __init__(self, group: Group, method: str, request: Any, tenant: str, call: Call, app: str) -> None:
        self._group, self._given, self._call, self._app = group, (method, request, tenant), call, app
        self._tried: list[Replica] = []
        self._begin()

    @property
    def app(self) -> str:
        """The replica that was asked last."""
        return self._tried[-1].app

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._future.abandon()

    def _begin(self) -> None:
        replica = self._group.pick(self._tried, self._app)
        self._tried.append(replica)
        self._future = replica.begin(*self._given, self._call.remaining_s())
        self._call.cancel_with(self._future)

    def result(self) -> Any:
        """The reply. RpcError as the shard refuses; Away when no replica can be asked any more."""
        while True:
            try:
                return self._future.result()
            except RpcError as error:
                if code_of(error) != "UNAVAILABLE":
                    raise
                self._group.lost(self._tried[-1])
                self._begin()
