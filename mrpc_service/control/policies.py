"""The part of the operators' API that is about policy chains: translation between its messages and `mrpc_service.chains`."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.json_format import ParseDict
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from mrpc_service.chains import requests, views
from mrpc_service.chains.apply import SHARE_MAX, Gate
from mrpc_service.chains.model import ANY, Layers, Record, changes
from mrpc_service.chains.store import Revision
from mrpc_service.control import control_pb2 as pb
from mrpc_service.control.errors import mapped_errors
from mrpc_service.control_plane import ControlPlane
from mrpc_service.dataplane_api import PolicyRow
from mrpc_service.errors import ConfigError

HISTORY_DEFAULT = 20
ROWS_AT_ONCE = 1000
SAME_CLOCK_NS = 60_000_000_000  # what lies between reading rows and putting them is the way of a message
CAUSES = ("apply", "swap", "delete", "move")


class PolicyMethods:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._chains = plane.chains

    @mapped_errors
    async def apply(self, request: pb.ApplyRequest, operator_uid: int) -> pb.PolicyReport:
        cause = request.cause or CAUSES[0]
        if cause not in CAUSES:
            raise ConfigError(f"cause {cause!r} is not one of {', '.join(CAUSES)}")
        against, gate = _revision(request), _gate(request)
        make = await self._make(request)
        return report_message(await self._chains.change(make, cause, operator_uid, against=against, gate=gate))

    @mapped_errors
    async def dry_run(self, request: pb.ApplyRequest, operator_uid: int) -> pb.PolicyReport:
        return report_message(await self._chains.try_out(await self._make(request), _revision(request)))

    @mapped_errors
    async def diff(self, request: pb.ApplyRequest, operator_uid: int) -> pb.PolicyDiff:
        make = await self._make(request)
        before, after = self._chains.layers, make(self._chains.layers)
        sources = program_sources(before) | program_sources(after)
        unified = views.diff(before.records(), after.records(), sources)
        return pb.PolicyDiff(revision=self._chains.revision, changes=changes(before.records(), after.records()), unified=unified)

    async def _make(self, request: pb.ApplyRequest) -> requests.Make:
        texts = [requests.Text(file.name, file.text, dict(file.programs)) for file in request.files]
        wanted = requests.Request(texts, list(request.remove), request.prune, request.adopt)
        return await requests.make_layers(wanted, self._plane.library)

    @mapped_errors
    async def rollback(self, request: pb.RollbackRequest, operator_uid: int) -> pb.PolicyReport:
        store, to = self._chains.store, request.to
        against, gate = _revision(request), _gate(request)
        if not to:
            before = store.before(self._chains.revision)
            if before is None:
                raise ConfigError("there is no earlier revision; 'mrpc policy history' lists what there is")
            to = before.revision
        make = await requests.roll_back(store, self._plane.library, to)
        return report_message(await self._chains.change(make, f"rollback to {to}", operator_uid, against=against, gate=gate))

    @mapped_errors
    async def reload(self, request: pb.ReloadRequest, operator_uid: int) -> pb.Applied:
        return ParseDict(await self._plane.reload("reload", operator_uid), pb.Applied(), ignore_unknown_fields=True)

    async def get_policy_state(self, request: pb.PolicyStateRequest, operator_uid: int) -> AsyncIterator[pb.PolicyState]:
        now_ns = time.monotonic_ns()
        rows = self._plane.dataplane.policy_rows(request.chain)
        for at in range(0, len(rows), ROWS_AT_ONCE):
            yield pb.PolicyState(now_ns=now_ns, rows=map(row_message, rows[at : at + ROWS_AT_ONCE]))

    async def put_policy_state(self, request: pb.PutPolicyStateRequest, operator_uid: int) -> pb.PolicyStatePut:
        # Hosts count their nanoseconds from moments of their own.
        later_ns = time.monotonic_ns() - request.state.now_ns
        if request.adds or abs(later_ns) < SAME_CLOCK_NS:
            later_ns = 0
        rows = [row_of(message, later_ns) for message in request.state.rows]
        return pb.PolicyStatePut(rows=self._plane.dataplane.put_policy_rows(request.chain, rows, request.adds))

    async def history(self, request: pb.HistoryRequest, operator_uid: int) -> pb.RevisionList:
        records = self._chains.store.history(request.limit or HISTORY_DEFAULT)
        return pb.RevisionList(revision=self._chains.revision, records=map(revision_message, records))

    async def show(self, request: pb.ShowRequest, operator_uid: int) -> pb.Policies:
        records, sources = self._at(request.revision)
        chosen = [record for record in records if request.chain in ("", record["name"])]
        if request.chain and not chosen:
            raise GRPCError(Status.NOT_FOUND, f"no chain {request.chain!r} is in force; 'mrpc policy show' lists those that are")
        wanted = {sha256 for record in chosen for sha256 in record["programs"].values()}
        return pb.Policies(
            revision=request.revision or self._chains.revision, epoch=self._chains.epoch, chains=map(chain_message, chosen),
            programs=[pb.ProgramSource(sha256=each, text=sources[each]) for each in sorted(wanted)],
            leases=[pb.PolicyLease(**lease) for lease in self._plane.leases.report()], unfit=self._unfit(""),
        )

    def _at(self, revision: int) -> tuple[list[Record], dict[str, str]]:
        if not revision:
            return self._chains.records(), program_sources(self._chains.layers)
        found = self._chains.store.committed(revision)
        if found is None:
            raise GRPCError(Status.NOT_FOUND, f"revision {revision} is not kept; 'mrpc policy history' lists those that are")
        return found.chains, self._chains.store.sources({each for record in found.chains for each in record["programs"].values()})

    async def explain(self, request: pb.ExplainRequest, operator_uid: int) -> pb.Explanation:
        snapshot = self._plane.dataplane.snapshot()
        known = {(found["service"], method) for found in snapshot["services"] for method in found["methods"]}
        if (request.service, request.method) not in known:
            text = f"no endpoint offers {request.service}/{request.method} now; 'mrpc services' shows what is offered"
            raise GRPCError(Status.NOT_FOUND, text)
        found = views.explain(
            self._chains.layers, self._chains.bindings, snapshot, request.service, request.method, request.client
        )
        policies = [pb.ExplainedPolicy(config_json=_json(each.pop("config")), **each) for each in found]
        return pb.Explanation(policies=policies, unfit=self._unfit(request.service))

    def _unfit(self, service: str) -> Iterable[pb.Unfit]:
        return [
            pb.Unfit(service=name, fingerprint=fingerprint, reason=reason)
            for (name, fingerprint), reason in sorted(self._chains.unfit.items()) if service in ("", name)
        ]


def _revision(request: Any) -> int:
    if not request.HasField("revision"):
        raise ConfigError("say by 'revision' what this change was made against; Show tells what is in force")
    return request.revision


def _gate(request: Any) -> Gate:
    share = request.deny_share_max if request.HasField("deny_share_max") else SHARE_MAX
    if not 0 <= share <= 1:
        raise ConfigError(f"deny_share_max {share} is not from 0 to 1")
    return Gate(request.force, share)


def program_sources(layers: Layers) -> dict[str, str]:
    """Text of each program in force by its SHA-256."""
    uses = [use for chain in layers.in_force() for use in chain.uses]
    return {use.program.source_sha256: use.program.source for use in uses if use.program is not None}


def report_message(report: dict[str, Any]) -> pb.PolicyReport:
    return ParseDict(report, pb.PolicyReport(), ignore_unknown_fields=True)


def revision_message(record: Revision) -> pb.Revision:
    return pb.Revision(
        revision=record.revision, state=record.state, at_unix_s=record.at_unix_s, operator_uid=record.operator_uid,
        cause=record.cause, changes=record.changes, report=report_message(record.report), chains=map(chain_message, record.chains),
    )


def chain_message(record: Record) -> pb.Chain:
    spec = record["document"]["spec"]
    policies = [
        pb.Policy(name=policy["name"], use=policy["use"], config_json=_json(policy["config"]),
                  sha256=record["programs"].get(policy["use"], ""))
        for policy in spec["policies"]
    ]
    selector = {part: "" if name == ANY else name for part, name in spec["selector"].items()}
    return pb.Chain(
        name=record["name"], **selector, side=spec["side"], policies=policies, source=record["source"],
        layer=record["layer"], changed_in=record["changed_in"], document=views.document_yaml(record),
    )


def _json(config: Any) -> str:
    return json.dumps(config, default=str)


def row_message(row: PolicyRow) -> pb.PolicyRow:
    def cell(field: str, value: int | float | bool) -> pb.PolicyCell:
        if isinstance(value, bool):
            return pb.PolicyCell(field=field, flag=value)
        return pb.PolicyCell(field=field, number=value) if isinstance(value, float) else pb.PolicyCell(field=field, integer=value)

    return pb.PolicyRow(policy=row["policy"], scope=row["scope"], key=row["key"], cells=[cell(*each) for each in row["cells"].items()])


def row_of(message: pb.PolicyRow, later_ns: int) -> PolicyRow:
    """`later_ns` is added to moments: whole numbers whose names end in _ns, and that are not 0."""
    cells = {cell.field: getattr(cell, cell.WhichOneof("value") or "integer") for cell in message.cells}
    for field, value in cells.items():
        if type(value) is int and field.endswith("_ns") and value:
            cells[field] = value + later_ns
    return {"policy": message.policy, "scope": list(message.scope), "key": list(message.key), "cells": cells}
