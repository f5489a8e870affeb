"""One tenant floods, another notices nothing: by outcomes, with searches of the flood that end when the test says so."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest
from mrpc import testing

from apps.vectordb.client import Client, models, reason
from apps.vectordb.database import Database
from apps.vectordb.server import Options
from tests.apps.vectordb.database.plain_index import PlainIndex
from tests.apps.vectordb.service.conftest import serving

FLOOD = 20
OPTIONS = Options(admins=("admin",), slots=3, threads=18)
ACCEPTED = 2 + 3  # all slots but one, and half of the six that may wait


class Gate:
    """Searches for points near DEAR end when it opens."""

    DEAR = [0.0, 0.0, 0.0, 1.0]

    def __init__(self) -> None:
        self.opened = threading.Event()

    def index(self) -> Any:
        gate = self

        class GatedIndex(PlainIndex):
            def search(self, vector: Any, *given: Any, **named: Any) -> Any:
                if vector.tolist() == gate.DEAR:
                    assert gate.opened.wait(30)
                return super().search(vector, *given, **named)

        return GatedIndex


def outcome(client: Client) -> str:
    try:
        client.query_points("papers", Gate.DEAR, limit=1)
    except Exception as error:
        return reason(error).name
    return "OK"


@pytest.mark.parametrize("system", ["mrpc", "grpc"])
def test_a_small_tenant_is_served_while_another_floods(system: str, mesh: testing.Mesh) -> None:
    gate = Gate()
    with (Database.open(None, index_type=gate.index(), background=False) as database, serving(system, OPTIONS, database) as running,
          ThreadPoolExecutor(FLOOD) as crowd):
        admin, flood, small = (running.client(name) for name in ("admin", "flood", "small"))
        admin.create_collection("papers", models.VectorParams(4, models.Distance.COSINE))
        for tenant in ("flood", "small"):
            admin.create_tenant("papers", tenant)
        calls = [crowd.submit(outcome, flood) for _ in range(FLOOD)]
        try:
            refused = [call.result() for _, call in zip(range(FLOOD - ACCEPTED), as_completed(calls), strict=False)]
            assert refused == ["QUEUE_FULL"] * (FLOOD - ACCEPTED)
            for _ in range(50):
                small.upsert("papers", models.Batch([1], [[1, 0, 0, 0]]))
                assert len(small.query_points("papers", [1, 0, 0, 0], limit=1).points) == 1
            assert sum(call.done() for call in calls) == FLOOD - ACCEPTED, "the flood's calls still wait"
        finally:
            gate.opened.set()
        assert Counter(call.result() for call in calls) == {"QUEUE_FULL": FLOOD - ACCEPTED, "OK": ACCEPTED}
        assert outcome(flood) == "OK"


def test_a_call_whose_deadline_passes_in_line_is_told_so_and_never_searched(mesh: testing.Mesh) -> None:
    gate = Gate()
    with (Database.open(None, index_type=gate.index(), background=False) as database,
          serving("grpc", Options(admins=("admin",), slots=2, threads=12), database) as running, ThreadPoolExecutor(1) as other):
        admin = running.client("admin")
        admin.create_collection("papers", models.VectorParams(4, models.Distance.COSINE))
        try:
            first = other.submit(outcome, admin)
            while not running.service._reads._running:
                pass
            late = Client(f"127.0.0.1:{running.service.port}", tenant="admin", system="grpc", timeout=0.05)
            with late, pytest.raises(Exception) as caught:
                late.query_points("papers", [1, 0, 0, 0])
            assert caught.value.code().name == "DEADLINE_EXCEEDED"
        finally:
            gate.opened.set()
        assert first.result() == "OK"
        while running.service._reads.waiting:
            pass
