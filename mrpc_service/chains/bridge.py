"""Stands between the control plane and a data plane that lacks some of what `dataplane_api` asks of it."""

from __future__ import annotations

from typing import Any


class Bridge:
    """The data plane, with what it lacks answered by nothing: no programs, no recorded calls, no leases."""

    def __init__(self, dataplane: Any) -> None:
        self._dataplane = dataplane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataplane, name)

    def apply_chains(self, chains: list[dict[str, Any]], bindings: list[Any]) -> dict[str, Any]:
        if hasattr(self._dataplane, "add_bindings"):
            return self._dataplane.apply_chains(chains, bindings)
        selectors = [{"client": each["client"], "service": each["service"], "method": each["method"]} for each in chains]
        documents = [{**each, "selector": selector} for each, selector in zip(chains, selectors, strict=True)]
        return self._dataplane.apply_chains(documents) | {"shards": []}

    def dry_run(self, chains: list[dict[str, Any]], bindings: list[Any]) -> dict[str, Any]:
        if hasattr(self._dataplane, "dry_run"):
            return self._dataplane.dry_run(chains, bindings)
        return {"calls": 0, "denied": 0, "policies": []}

    def leases(self) -> list[Any]:
        return self._dataplane.leases() if hasattr(self._dataplane, "leases") else []

    def configure_recorder(self, calls_max: int, sample: float, redact: list[str]) -> None:
        if hasattr(self._dataplane, "configure_recorder"):
            self._dataplane.configure_recorder(calls_max, sample, redact)
