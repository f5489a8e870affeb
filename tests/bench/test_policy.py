"""bench.policy on a small scale: every part measures something, and the account of numbered calls finds what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.common.report import Report
from bench.policy import claims, costs, interpreted, limits, qos, swaps
from bench.policy.mesh import Kit
from bench.policy.scale import Bench, Scale
from bench.policy.server import Account

SMALL = Scale(repeats=1, calls=50, swaps=6, cold_compiles=1, limit_seconds=0.5, qos_repeats=1, qos_seconds=0.3)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench() -> Iterator[Bench]:
    found = Bench(Report("policy", environment={}), SMALL, lambda text: None)
    yield found
    assert not any(row.failed for row in found.report.rows)


def test_every_policy_and_a_chain_of_ten_are_measured(bench: Bench, kit: Kit) -> None:
    costs.policies(bench, kit)
    interpreted.evaluations(bench, kit)
    for name in (*costs.SIMPLE, *costs.OTHERS):
        assert bench.report.find(f"policy {name}", "mrpc", "in the datapath")
        assert bench.report.find(f"policy {name}", "interpreted", "an evaluation")
    assert bench.report.find(costs.CHAIN, "mrpc", "in the datapath")


def test_swaps_under_load_fail_lose_and_repeat_no_call(bench: Bench, kit: Kit) -> None:
    swaps.under_load(bench, kit)
    assert bench.report.find(swaps.WORK, "mrpc", "calls")
    found, = (claim for claim in claims.make(bench.report) if claim.id == "policy.swaps")
    assert found.measured == 0


def test_memory_of_programs_and_of_twenty_policies_is_measured(bench: Bench, kit: Kit) -> None:
    swaps.memory_left(bench, kit)
    swaps.twenty_policies(bench, kit)
    swaps.cold_compiles(bench, kit)
    assert bench.report.find(swaps.MEMORY, "mrpc", "daemon rss, in the end")
    assert bench.report.find(swaps.TWENTY, "mrpc", "daemon and helpers rss")
    assert bench.report.find(swaps.COLD, "mrpc", "p50")


def test_three_daemons_share_a_budget_and_then_have_their_shares(bench: Bench, kit: Kit) -> None:
    limits.three_daemons(bench, kit)
    assert 0 < bench.report.find(limits.WORK, "mrpc", "granted") < sum(limits.OFFERED.values())
    assert bench.report.find(f"{limits.WORK}, store away", "mrpc", "off its share, the worst of three") is not None


def test_a_tail_beside_bulk_is_measured(bench: Bench, kit: Kit) -> None:
    with kit.mesh() as mesh:
        qos._measure(bench, qos._stage(mesh, qos.SAME), qos.SAME)
    work = f"qos, {qos.SAME.title}"
    assert all(bench.report.find(work, name, "p99") for name in ("alone", "without priorities", "priorities", "control"))


def test_a_quiet_caller_is_heard_beside_one_that_never_lets_the_daemon_sleep(kit: Kit) -> None:
    """Counted in calls of the busy one: 20 to one of the quiet one is far above its turn, and far below waiting for the shard to sleep."""
    calls = 300
    with kit.mesh() as mesh:
        daemon = mesh.daemon("busy")
        mesh.server(daemon)
        mesh.server(daemon, "Store")
        quiet, busy = mesh.client(daemon), mesh.client(daemon, "Store")
        busy.send("bulk", until_told=True, size=1 << 20, in_flight=8)
        quiet.do("latency", size=64, calls=calls)
        busy.send("")
        assert busy.receive()["calls"] < 20 * calls


def test_all_claims_are_made_when_nothing_was_measured() -> None:
    found = claims.make(Report("policy", environment={}))
    assert len({claim.id for claim in found}) == len(found)
    assert [claim.id for claim in found if claim.measured is not None] == ["policy.lines"]


@pytest.mark.parametrize(("numbers", "expected"), [
    ([0, 1, 2], Account(3)), ([0, 1, 1], Account(3, repeated=1)), ([0, 2], Account(2, skipped=1)), ([0, 2, 1], Account(3, skipped=1, late=1)),
])
def test_the_account_of_numbered_calls(numbers: list[int], expected: Account) -> None:
    account = Account()
    for number in numbers:
        account.add(number)
    assert account == expected

