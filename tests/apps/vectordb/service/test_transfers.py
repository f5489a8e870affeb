"""A tenant's points taken away and brought back, in pieces."""

from __future__ import annotations

import random

import numpy as np
import pytest

from apps.vectordb import transfers
from apps.vectordb.client import models, reason
from apps.vectordb.database.errors import Invalid, QuotaExceeded
from apps.vectordb.transfers import Transfers
from tests.apps.vectordb.service.conftest import Running


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PIECE_BYTES", 1000)


def test_an_export_comes_back_as_it_was(running: Running, small_pieces: None) -> None:
    admin, acme, globex = running.client("admin"), running.client("acme"), running.client("globex")
    admin.create_collection("papers", models.VectorParams(4, models.Distance.COSINE))
    for tenant in ("acme", "globex"):
        admin.create_tenant("papers", tenant, vectors=1000)
    vectors = np.random.default_rng(3).standard_normal((200, 4))
    acme.upsert("papers", models.Batch(range(200), vectors, [{"n": n} for n in range(200)]))
    acme.grant("papers", [7], to="globex")
    before = acme.scroll("papers", limit=500, with_vectors=True)[0]
    pieces = list(acme.export_tenant("papers"))
    assert len(pieces) > 3
    assert admin.delete_tenant("papers", "acme") == 200 and globex.count("papers").count == 0
    assert admin.import_tenant("papers", pieces) == 200
    after = acme.scroll("papers", limit=500, with_vectors=True)[0]
    assert [(a.id, a.payload) for a in after] == [(b.id, b.payload) for b in before]
    assert np.allclose([a.vector for a in after], [b.vector for b in before], atol=1e-6)
    assert globex.scroll("papers")[0][0].id == 7 and admin.usage("papers", "acme").quota.vectors == 1000
    assert admin.import_tenant("papers", pieces, tenant="copy") == 200
    with pytest.raises(Exception) as caught:
        admin.import_tenant("papers", pieces, tenant="copy")
    assert reason(caught.value).name == "ALREADY_EXISTS"
    running.client("copy").delete("papers", [3, 4])
    assert admin.import_tenant("papers", pieces, tenant="copy", conflicts="skip") == 2
    assert admin.import_tenant("papers", pieces, tenant="copy", conflicts="replace") == 200
    with pytest.raises(ValueError):
        admin.import_tenant("papers", pieces, tenant="copy", conflicts="merge")
    with pytest.raises(Exception) as caught:
        admin.import_tenant("papers", [pieces[0], b"\0" * 100], tenant="broken")
    assert reason(caught.value).name == "INVALID" and "/tmp" not in caught.value.details()
    assert "broken" not in admin.tenants("papers")
    admin.delete_collection("papers")


def test_a_cursor_goes_on_only_where_it_stands() -> None:
    exports = Transfers()
    transfer = exports.begin("acme")
    transfer.path.write_bytes(random.Random(1).randbytes(transfers.PIECE_BYTES + 5))
    first, cursor = exports.read("acme", transfer)
    for tenant, wrong in (("acme", ""), ("acme", "x"), ("acme", cursor[:-1] + "x"), ("globex", cursor), ("acme", "é")):
        with pytest.raises(Invalid, match="begin anew"):
            exports.find(tenant, wrong)
    rest, end = exports.read("acme", exports.find("acme", cursor))
    assert len(first) == transfers.PIECE_BYTES and len(rest) == 5 and end == ""
    with pytest.raises(Invalid):
        exports.find("acme", cursor)
    assert not transfer.path.exists()


def test_one_transfer_a_tenant_and_so_many_in_all() -> None:
    now = [0.0]
    imports = Transfers(bytes_max=10, clock=lambda: now[0])
    first = imports.begin("acme")
    second = imports.begin("acme")
    assert first.file.closed and not second.file.closed
    imports.write(second, b"x" * 10)
    with pytest.raises(Invalid, match="at most 10 bytes"):
        imports.write(second, b"x")
    for number in range(transfers.TRANSFERS_MAX - 1):
        imports.begin(str(number))
    with pytest.raises(QuotaExceeded):
        imports.begin("late")
    now[0] = transfers.IDLE_MAX_S + 1
    imports.begin("late")
    assert second.file.closed
    imports.end("late", imports._transfers["late"])
