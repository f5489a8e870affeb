"""What a chain's policies have counted goes with the chain to the other daemon of its calls.

Rows go before the switch, so that the first call that is judged there finds them; what was judged here until then, or was on its way, follows as
differences. A row belongs to a caller: `frontend` of node `a` is `frontend@a` to other daemons. Rows that belong to none stay when the
endpoints' daemon judges for more daemons than this one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from mrpc_service.control import control_pb2 as pb
from mrpc_service.control.client import ControlClient

ROWS_AT_ONCE = 1000
ROUNDS, ROUND_S = 5, 0.1  # of looking for differences
Key = tuple[str, tuple[str, ...], tuple[bytes, ...]]
Rows = dict[Key, pb.PolicyRow]


class Names:
    """How callers are called at either daemon."""

    def __init__(self, node: str, callers: Iterable[str], shared: bool) -> None:
        """`node`: the callers' daemon. `callers`: its apps. `shared`: the endpoints' daemon judges for others, too."""
        self._suffix = f"@{node}".encode()
        self._callers = {name.encode() for name in callers}
        self._shared = shared

    def at_other(self, scope: Iterable[str], key: Iterable[bytes], to_endpoints: bool) -> tuple[bytes, ...] | None:
        """The row's key at the other daemon; None when it stays."""
        parts, made, owned = iter(key), [], False
        for kind in scope:
            text = next(parts, b"")
            if kind in ("client", "tenant"):
                owned = True
                ours = text in self._callers if to_endpoints else text.endswith(self._suffix)
                if kind == "client" and not ours:
                    return None  # of another daemon's caller
                if ours:  # a tenant that is no caller has one name everywhere
                    text = text + self._suffix if to_endpoints else text.removesuffix(self._suffix)
            made.append(text)
            if kind == "method":
                made.append(next(parts, b""))
        return tuple(made) if owned or not self._shared else None


class StateMove:
    def __init__(self, chain: str, source: ControlClient, target: ControlClient, names: Names, to_endpoints: bool) -> None:
        self._chain, self._source, self._target = chain, source, target
        self._names, self._to_endpoints = names, to_endpoints
        self._seen: Rows = {}

    def bring(self) -> int:
        """Put the rows where the chain goes; how many. ControlError."""
        now_ns, self._seen = self._read()
        return self._put(now_ns, self._seen.values(), adds=False)

    def bring_rest(self) -> None:
        """After the switch: what has changed since. ControlError."""
        for _ in range(ROUNDS):
            now_ns, rows = self._read()
            self._put(now_ns, [row for key, row in rows.items() if key not in self._seen], adds=False)
            changed = [difference(self._seen[key], row) for key, row in rows.items() if key in self._seen and row != self._seen[key]]
            self._put(now_ns, changed, adds=True)
            if rows == self._seen:
                return
            self._seen = rows
            time.sleep(ROUND_S)

    def _read(self) -> tuple[int, Rows]:
        now_ns, rows = 0, {}
        for state in self._source.stream("GetPolicyState", chain=self._chain):
            now_ns = state.now_ns
            for row in state.rows:
                key = self._names.at_other(row.scope, row.key, self._to_endpoints)
                if key is not None:
                    row.key[:] = key
                    rows[row.policy, tuple(row.scope), key] = row
        return now_ns, rows

    def _put(self, now_ns: int, rows: Iterable[pb.PolicyRow], adds: bool) -> int:
        rows, put = list(rows), 0
        for at in range(0, len(rows), ROWS_AT_ONCE):
            state = pb.PolicyState(now_ns=now_ns, rows=rows[at : at + ROWS_AT_ONCE])
            put += self._target.call("PutPolicyState", chain=self._chain, state=state, adds=adds).rows
        return put


def difference(before: pb.PolicyRow, after: pb.PolicyRow) -> pb.PolicyRow:
    """By how much the numbers of a row have grown; flags as they are."""
    old = {cell.field: cell for cell in before.cells}
    made = pb.PolicyRow(policy=after.policy, scope=after.scope, key=after.key)
    for cell in after.cells:
        kind, was = cell.WhichOneof("value"), old.get(cell.field)
        value: Any = getattr(cell, kind)
        if kind != "flag" and was is not None:
            value -= getattr(was, kind)
        made.cells.append(pb.PolicyCell(field=cell.field, **{kind: value}))
    return made
