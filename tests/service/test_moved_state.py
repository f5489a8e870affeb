"""Rows of state on their way from one daemon to another: by what names, and what of them."""

from __future__ import annotations

import pytest

from mrpc_service.cli.moved_state import Names, difference
from mrpc_service.control import control_pb2 as pb
from mrpc_service.control.policies import row_message, row_of


@pytest.mark.parametrize("scope, here, there", [
    (["client"], [b"web"], [b"web@a"]),
    (["tenant", "client"], [b"acme", b"web"], [b"acme", b"web@a"]),
    (["tenant"], [b"web"], [b"web@a"]),  # on its own behalf
    (["method", "client"], [b"s.S", b"M", b"web"], [b"s.S", b"M", b"web@a"]),
    (["global"], [b""], [b""]),
])
def test_a_row_is_called_by_its_callers_name_at_either_end(scope: list[str], here: list[bytes], there: list[bytes]) -> None:
    names = Names("a", ["web"], shared=False)
    assert names.at_other(scope, here, to_endpoints=True) == tuple(there)
    assert names.at_other(scope, there, to_endpoints=False) == tuple(here)


def test_rows_of_others_stay() -> None:
    names = Names("a", ["web"], shared=True)
    assert names.at_other(["client"], [b"web@b"], to_endpoints=False) is None
    assert names.at_other(["client"], [b"web@b"], to_endpoints=True) is None  # a caller of a caller
    assert names.at_other(["method"], [b"s.S", b"M"], to_endpoints=True) is None
    assert names.at_other(["method", "tenant"], [b"s.S", b"M", b"acme"], to_endpoints=True) == (b"s.S", b"M", b"acme")


def test_differences_and_the_other_hosts_clock() -> None:
    cells = {"tokens": 3.5, "filled_ns": 1000, "never_ns": 0, "least_ns": 2.0, "seen": True, "calls": -2}
    before = row_message({"policy": "p", "scope": ["client"], "key": [b"\xff"], "cells": cells})
    after = row_message({"policy": "p", "scope": ["client"], "key": [b"\xff"], "cells": cells | {"tokens": 1.0, "calls": 5, "seen": False}})
    grown = {"tokens": -2.5, "filled_ns": 0, "never_ns": 0, "least_ns": 0.0, "seen": False, "calls": 7}
    assert row_of(difference(before, after), 0)["cells"] == grown
    assert row_of(before, 50) == {"policy": "p", "scope": ["client"], "key": [b"\xff"], "cells": cells | {"filled_ns": 1050}}
    assert pb.PolicyRow.FromString(before.SerializeToString()) == before
