"""Coordinated omission, shown by a server that stalls until the whole schedule has passed."""

from __future__ import annotations

from mrpc_service.load import native
from mrpc_service.load.result import LoadResult

CALLS, RATE = 200, 2000  # a schedule of 100 ms


def test_a_stall_counts_for_every_call_that_it_held_up(http_server, tmp_path):
    # One connection, so that the first call's stall holds up all others before they are sent. The gate opens when the
    # generator says that all of them are due.
    def open_gate(progress: dict[str, int]) -> None:
        if progress["due"] == CALLS:
            http_server.gate.set()

    counted = native.run(
        [f"{http_server.url}/gate", "--rate", str(RATE), "--count", str(CALLS), "--warmup", "0", "--late-us", "0"], open_gate)
    result = LoadResult.from_native(counted, {})

    assert result.status_codes == {"200": CALLS}
    assert result.late_sends >= CALLS - 1
    assert result.backlog_peak == CALLS - 1
    # The call in the middle of the schedule was due 50 ms before its end, so it waited at least as long ...
    assert result.corrected.percentile(50) >= 49_000_000
    # ... which a closed view does not see: only the first call was slow from where it was sent.
    assert result.uncorrected.percentile(50) < result.corrected.percentile(50)
    assert result.uncorrected.slowest >= 99_000_000


def test_a_server_that_never_answers_leaves_nothing_out(http_server):
    counted = native.run(
        [f"{http_server.url}/gate", "--rate", str(RATE), "--count", str(CALLS), "--warmup", "0", "--drain", "0.05"])
    assert counted["planned"] == CALLS == counted["corrected"]["count"]
    assert (counted["unfinished"], counted["skipped_sends"]) == (1, CALLS - 1)


def test_closed_loop_says_so(http_server):
    counted = native.run([http_server.url, "--closed", "4", "--connections", "4", "--count", "100", "--warmup", "0"])
    assert counted["loop"] == "closed"
    assert counted["in_flight_peak"] == 4
    assert counted["corrected"] == counted["uncorrected"]


def test_threads_share_the_calls(http_server):
    counted = native.run([http_server.url, "--rate", "1000", "--count", "101", "--warmup", "0", "--threads", "2", "--connections", "2"])
    assert counted["completed"] == 101 == len(http_server.seen)
