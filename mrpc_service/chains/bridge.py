"""Stands between the control plane and a data plane that has no policy programs yet."""

from __future__ import annotations

from typing import Any


class NativeOnly:
    """The data plane, with what `dataplane_api` asks of it beyond native engines answered by nothing."""

    def __init__(self, dataplane: Any) -> None:
        self._dataplane = dataplane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataplane, name)

    def apply_chains(self, chains: list[dict[str, Any]], bindings: list[Any]) -> dict[str, Any]:
        selectors = [{"client": each["client"], "service": each["service"], "method": each["method"]} for each in chains]
        documents = [{**each, "selector": selector} for each, selector in zip(chains, selectors, strict=True)]
        return self._dataplane.apply_chains(documents) | {"shards": []}

    def dry_run(self, chains: list[dict[str, Any]], bindings: list[Any]) -> dict[str, Any]:
        return {"calls": 0, "denied": 0, "policies": []}

    def leases(self) -> list[Any]:
        return []
