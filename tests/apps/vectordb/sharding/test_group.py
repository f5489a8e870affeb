"""Which replicas are current after a write, with replicas that fail as told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrpc
import pytest

from apps.vectordb.sharding.calls import Call
from apps.vectordb.sharding.errors import Away
from apps.vectordb.sharding.group import Group
from apps.vectordb.sharding.ledger import Ledger
from apps.vectordb.sharding.order import Order


class Failure(mrpc.RpcError):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self._code = mrpc.StatusCode[code]

    def code(self) -> mrpc.StatusCode:
        return self._code


class Fake:
    """A replica that answers with what is next, and "done" when nothing is."""

    def __init__(self, app: str) -> None:
        self.app, self.is_serving, self.open, self.reads = app, True, 0, 0
        self.asked: list[Any] = []
        self.answers: list[Any] = []

    def begin(self, method: str, request: Any, tenant: str, timeout_s: float | None) -> Fake:
        self.asked.append(request)
        return self

    def result(self) -> Any:
        answer = self.answers.pop(0) if self.answers else "done"
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self) -> None:
        pass


class Trio:
    """Three current replicas of a shard; current(): what the ledger says."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        apps = ["s0", "s1", "s2"]
        self.ledger.replicas("s", apps)
        self.ledger.set_current("s", apps)
        self.fakes: Any = [Fake(app) for app in apps]
        self.group = Group("s", self.fakes, self.ledger, Order())

    def current(self) -> set[str]:
        return self.ledger.replicas("s", ["s0", "s1", "s2"])

    def write(self, what: str) -> Any:
        return self.group.write("Points.Upsert", what, "t", ("c", "t"), Call())


@pytest.fixture
def trio(tmp_path: Path) -> Trio:
    return Trio(tmp_path)


def test_all_have_a_write_before_it_is_acknowledged(trio: Trio) -> None:
    assert trio.write("a") == "done"
    assert [each.asked for each in trio.fakes] == [["a"]] * 3 and trio.current() == {"s0", "s1", "s2"}


def test_a_refusal_reaches_no_other_replica(trio: Trio) -> None:
    trio.fakes[0].answers = [Failure("INVALID_ARGUMENT")]
    with pytest.raises(Failure):
        trio.write("a")
    assert trio.fakes[1].asked == [] and trio.current() == {"s0", "s1", "s2"}


@pytest.mark.parametrize("answer", [Failure("UNAVAILABLE"), Failure("RESOURCE_EXHAUSTED"), Failure("DEADLINE_EXCEEDED"), "something else"])
def test_who_does_not_answer_as_the_leader_is_struck_off(trio: Trio, answer: Any) -> None:
    trio.fakes[2].answers = [answer]
    assert trio.write("a") == "done" and trio.current() == {"s0", "s1"}
    trio.write("b")
    assert trio.fakes[2].asked == ["a"] and trio.group.state(trio.fakes[2]) == "stale"


def test_the_next_leader_takes_a_write_that_the_first_may_have_had(trio: Trio) -> None:
    trio.fakes[0].answers = [Failure("UNAVAILABLE")]
    assert trio.write("a") == "done" and trio.current() == {"s1", "s2"}
    assert [each.asked for each in trio.fakes] == [["a"]] * 3


def test_a_current_replica_that_is_away_is_struck_off_by_the_first_write_it_misses(trio: Trio) -> None:
    trio.group.lost(trio.fakes[1])
    assert trio.group.state(trio.fakes[1]) == "away" and trio.current() == {"s0", "s1", "s2"}
    trio.write("a")
    assert trio.current() == {"s0", "s2"}


def test_the_last_one_stays_current_and_no_copy_of_it_goes_on(trio: Trio) -> None:
    for each in trio.fakes:
        each.answers = [Failure("UNAVAILABLE")]
    trio.group._copies = {Fake("s3"): set()}  # type: ignore[dict-item]
    with pytest.raises(Away, match="not known"):
        trio.write("a")
    assert trio.current() == {"s2"} and trio.group._copies == {}
    with pytest.raises(Away, match="can be reached"):
        trio.write("b")


def test_a_copy_gets_writes_of_owners_that_it_has(trio: Trio) -> None:
    copy, missing = Fake("s3"), {("c", "other")}
    trio.group._copies = {copy: missing}  # type: ignore[dict-item]
    trio.write("a")
    trio.group.write("Points.Upsert", "b", "other", ("c", "other"), Call())
    trio.group.change("Tenants.Create", "c", Call())
    assert copy.asked == ["a", "c"] and trio.current() == {"s0", "s1", "s2"}
    copy.answers = [Failure("INTERNAL")]
    assert trio.write("d") == "done" and trio.group._copies == {}


def test_a_read_goes_on_at_another_replica(trio: Trio) -> None:
    trio.fakes[0].open = 5
    trio.fakes[1].answers = [Failure("UNAVAILABLE")]
    read = trio.group.begin_read("Points.Count", "q", "t", Call())
    assert read.result() == "done" and read.app == "s2" and trio.group.state(trio.fakes[1]) == "away"
    trio.fakes[2].answers = [Failure("NOT_FOUND")]
    with pytest.raises(Failure, match="NOT_FOUND"):
        trio.group.begin_read("Points.Count", "q", "t", Call()).result()
    assert trio.current() == {"s0", "s1", "s2"}


def test_after_an_end_that_was_no_clean_one_a_single_replica_is_current(trio: Trio, tmp_path: Path) -> None:
    trio.ledger.close(clean=False)

    class Joining(Fake):
        def join(self, router: str, epoch: int, empty: bool) -> None:
            assert not empty
            if self.app == "s0":
                raise Failure("UNAVAILABLE")

    ledger = Ledger(tmp_path)
    group = Group("s", [Joining(app) for app in ("s0", "s1", "s2")], ledger, Order())  # type: ignore[list-item]
    for each in group.replicas:
        each.is_serving = False
    with pytest.raises(Failure):
        group._join_current(group.replicas[0])
    for each in group.replicas[1:]:
        group._join_current(each)
    assert [group.state(each) for each in group.replicas] == ["stale", "serving", "stale"]
    assert ledger.replicas("s", ["s0", "s1", "s2"]) == {"s1"}
    ledger.close(clean=True)
