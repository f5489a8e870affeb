"""What operators see of chains: as applied, as they judge one method, and what a change would change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from mrpc_service.chains.model import ANY, Chain, Layers, PolicyUse, Record
from mrpc_service.dataplane_api import Binding

COUNTERS = ("evaluations", "denied", "faults", "ns_total", "rows", "evicted")


def document_yaml(record: Record) -> str:
    """A chain as a document that can be edited and applied again; it says which revision it was made from."""
    document = record["document"]
    metadata = document["metadata"] | {"revision": record["changed_in"]}
    return yaml.safe_dump(document | {"metadata": metadata}, sort_keys=False, default_flow_style=None, width=130)


def diff(before: Sequence[Record], after: Sequence[Record], sources: Mapping[str, str]) -> str:
    """A unified diff of documents, and of the programs that they name. `sources`: by SHA-256."""
    old, new = ({record["name"]: record for record in records} for records in (before, after))
    parts = []
    for name in sorted(old.keys() | new.keys()):
        parts += _unified(name, _plain_yaml(old.get(name)), _plain_yaml(new.get(name)))
        was, will_be = (_programs(record, sources) for record in (old.get(name), new.get(name)))
        for policy in sorted(was.keys() | will_be.keys()):
            parts += _unified(f"{name}/{policy}", was.get(policy, ""), will_be.get(policy, ""))
    return "".join(parts)


def _programs(record: Record | None, sources: Mapping[str, str]) -> dict[str, str]:
    """Text of each policy that is a program."""
    policies = record["document"]["spec"]["policies"] if record else []
    programs = record["programs"] if record else {}
    return {policy["name"]: sources[programs[policy["use"]]] for policy in policies if policy["use"] in programs}


def _plain_yaml(record: Record | None) -> str:
    return yaml.safe_dump(record["document"], sort_keys=False, default_flow_style=None, width=130) if record else ""


def _unified(name: str, old: str, new: str) -> Iterable[str]:
    return difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True),
        f"{name} (in force)" if old else "/dev/null", f"{name} (new)" if new else "/dev/null",
    )


def explain(
    layers: Layers, bindings: Sequence[Binding], snapshot: Mapping[str, Any], service: str, method: str, client: str
) -> list[dict[str, Any]]:
    """Every policy that judges calls of a method, in order. Without a client: for any, each with whom it is for."""
    chosen = [chain for chain in layers.in_force() if chain.selects(service, method) and _for_client(chain, client)]
    specs = {(each["chain"], each["policy"]): each["spec"] for each in bindings
             if each["service"] in ("", service) and each["method"] in ("", method)}
    counters = _counters(snapshot, service, method, client)
    found = []
    for chain in chosen:
        for policy, use in zip(chain.document.spec.policies, chain.uses, strict=True):
            spec = specs.get((chain.name, policy.name))
            counted = counters.get((chain.name, policy.name), dict.fromkeys(COUNTERS, 0))
            found.append({
                "chain": chain.name, "policy": policy.name, "use": policy.use, "side": chain.document.spec.side,
                "client": chain.document.spec.selector.client or ANY, "form": _form(use, spec), "config": use.config,
                "reads": spec["reads"] if spec else [], "writes": [write["field"] for write in spec["writes"]] if spec else [],
                "state": _state(spec) if spec else [], **counted,
            })
    return found


def _for_client(chain: Chain, client: str) -> bool:
    return not client or chain.document.spec.selector.client in ("", ANY, client)


def _form(use: PolicyUse, spec: Any) -> str:
    """How a policy runs: "native", "compiled", or "waiting" for a service to come on offer."""
    return "native" if use.program is None else "compiled" if spec else "waiting"


def _state(spec: Any) -> list[str]:
    return [f"{field['name']} per {', '.join(scope['scope'])}" for scope in spec["state"] for field in scope["fields"]]


def _counters(snapshot: Mapping[str, Any], service: str, method: str, client: str) -> dict[tuple[str, str], dict[str, int]]:
    """Sums over routes. A policy counts by route, and each edge of the route (one for each server) shows that count."""
    routes = {
        (edge["client"], policy["chain"], policy["policy"]): policy
        for edge in snapshot["edges"] if (edge["service"], edge["method"]) == (service, method) and client in ("", edge["client"])
        for policy in edge["policies"]
    }
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for (_, chain, policy), counted in routes.items():
        into = sums.setdefault((chain, policy), dict.fromkeys(COUNTERS, 0))
        for name in COUNTERS:
            into[name] += counted.get(name, 0)
    return sums
