"""One Envoy beside each process: what a service mesh of sidecars does with the same application and policies.

Into a service: caller's Envoy -> the service's Envoy (rate limit and, before Reservation, the denial by customer name)
-> the service. So every call passes two proxies, as it does under Istio. The HTTP side of the frontend passes none:
neither does it over mRPC. The policies are those of policies.yaml; the denial reads the message's field by Envoy's
gRPC field extraction, as the other side reads it.
"""
from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TYPE = "type.googleapis.com/envoy.extensions"
_EXTRACTION = "envoy.filters.http.grpc_field_extraction"


@dataclass(frozen=True)
class Denial:
    """Refuses calls of a method whose request names one of these in a field."""
    method: str
    field: str
    names: list[str]
    descriptors: bytes = field(repr=False)  # a serialized FileDescriptorSet


@dataclass(frozen=True)
class Sidecar:
    """The ports of one process's Envoy, all on 127.0.0.1.

    inbound: where others reach the service, or None (the frontend); service: where it listens itself; outbound: local
    port by the port of the other side's Envoy.
    """
    inbound: int | None
    service: int | None
    outbound: Mapping[int, int]
    requests_per_second: int
    denial: Denial | None = None


def requests_per_second(chains: Iterable[Mapping[str, Any]]) -> int:
    """Of the rate limit on every edge. LookupError if no chain (each a PolicyChain's spec) without selector has one."""
    for chain in chains:
        for policy in chain["policies"]:
            if policy["use"] == "rate_limit" and "selector" not in chain:
                return policy["config"]["requests_per_second"]
    raise LookupError("the policies have no rate limit for every edge, which each Envoy is given")


def find_denial(chains: Iterable[Mapping[str, Any]], service: str, descriptors: Callable[[], bytes]) -> Denial | None:
    """The access control of a chain that selects the service, and a method of it."""
    for chain in chains:
        selector = chain.get("selector", {})
        for policy in chain["policies"]:
            if policy["use"] == "access_control" and selector.get("service") == service:
                config = policy["config"]
                return Denial(f"{service}.{selector['method']}", config["field"], config["deny"], descriptors())
    return None


def bootstrap(name: str, sidecar: Sidecar, admin: Path) -> dict[str, Any]:
    """Envoy's static configuration, ready to be written as YAML or JSON. admin: the Unix socket where it tells its counters."""
    listeners, clusters = [], []
    if sidecar.inbound is not None:
        filters = [_rate_limit(sidecar.requests_per_second)]
        if sidecar.denial:
            filters += [_field_extraction(sidecar.denial), _rbac(sidecar.denial)]
        listeners.append(_listener("inbound", sidecar.inbound, filters))
        clusters.append(_cluster("inbound", sidecar.service))
    for local, remote in sidecar.outbound.items():
        listeners.append(_listener(f"outbound_{remote}", local, []))
        clusters.append(_cluster(f"outbound_{remote}", remote))
    return {"node": {"id": name, "cluster": "hotel"}, "admin": {"address": {"pipe": {"path": str(admin)}}},
            "static_resources": {"listeners": listeners, "clusters": clusters}}


def _listener(name: str, port: int, filters: list[dict]) -> dict:
    route = {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}}]}]}
    manager = {"@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": name, "codec_type": "HTTP2", "route_config": route,
               "http_filters": [*filters, _http_filter("envoy.filters.http.router", "router.v3.Router")]}
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}


def _cluster(name: str, port: int | None) -> dict:
    endpoint = {"endpoint": {"address": _address(port)}}
    options = {"@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
               "explicit_http_config": {"http2_protocol_options": {}}}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}}


def _address(port: int | None) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _http_filter(name: str, message: str, **config: Any) -> dict:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}.filters.http.{message}", **config}}


def _rate_limit(requests_per_second: int) -> dict:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    bucket = {"max_tokens": requests_per_second, "tokens_per_fill": requests_per_second, "fill_interval": "1s"}
    return _http_filter("envoy.filters.http.local_ratelimit", "local_ratelimit.v3.LocalRateLimit",
                        stat_prefix="limit", token_bucket=bucket, filter_enabled=always, filter_enforced=always,
                        status={"code": "TooManyRequests"}, rate_limited_as_resource_exhausted=True)


def _field_extraction(denial: Denial) -> dict:
    descriptors = {"inline_bytes": base64.b64encode(denial.descriptors).decode()}
    extract = {"request_field_extractions": {denial.field: {}}}
    return _http_filter(_EXTRACTION, "grpc_field_extraction.v3.GrpcFieldExtractionConfig",
                        descriptor_set=descriptors, extractions_by_method={denial.method: extract})


def _rbac(denial: Denial) -> dict:
    named = [{"sourced_metadata": {"metadata_matcher": {
                 "filter": _EXTRACTION, "path": [{"key": denial.field}],
                 "value": {"list_match": {"one_of": {"string_match": {"exact": name}}}}}}}
             for name in denial.names]
    rules = {"action": "DENY", "policies": {"denied-customer": {
        "permissions": [{"or_rules": {"rules": named}}], "principals": [{"any": True}]}}}
    return _http_filter("envoy.filters.http.rbac", "rbac.v3.RBAC", rules=rules)
