"""Envoy's native filters that do what a policy does: what each adds to a gRPC call, with the filter and without, in turn.

Coarse: a filter costs microseconds in a call of hundreds, so figures are differences of medians, and may come out below zero."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from bench.common import envoy
from bench.common.process import NotStarted
from bench.common.statistics import percentile
from bench.policy.scale import Bench
from bench.policy.tokens import make_token
from bench.rpc.systems import HEADER, RATE, free_port
from bench.rpc.systems import Kit as RpcKit

CALL_SECONDS = 10
BATCH = 100
CALLS_SHARE = 0.5  # of the calls of other measurements: one through Envoy takes far longer


def filters(jwks: str) -> dict[str, dict[str, Any]]:
    """Envoy's filter, by the policy that does the same."""
    provider = {"issuer": "bench", "local_jwks": {"inline_string": jwks}, "forward": True}
    return {
        "rate_limit": envoy.rate_limit(RATE),
        "access_control": envoy.rbac(envoy.header_rules(HEADER)),
        "fault": envoy.http_filter("envoy.filters.http.fault", "fault.v3.HTTPFault",
                               abort={"http_status": 503, "percentage": {"numerator": 0, "denominator": "HUNDRED"}}),
        "size_limit": envoy.http_filter("envoy.filters.http.buffer", "buffer.v3.Buffer", max_request_bytes=4 << 20),
        "header_mutation": envoy.http_filter("envoy.filters.http.header_mutation", "header_mutation.v3.HeaderMutation", mutations={
            "request_mutations": [{"append": {"header": {"key": "region", "value": "eu"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]}),
        "adaptive_concurrency": envoy.http_filter(
            "envoy.filters.http.adaptive_concurrency", "adaptive_concurrency.v3.AdaptiveConcurrency", gradient_controller_config={
                "concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
                "min_rtt_calc_params": {"interval": "60s", "request_count": 50}}),
        "token_check": envoy.http_filter("envoy.filters.http.jwt_authn", "jwt_authn.v3.JwtAuthentication", providers={"bench": provider},
                                     rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}]),
    }


def added(bench: Bench, kit: RpcKit) -> None:
    """Rows of what each filter adds to a call's p50."""
    token, jwks = make_token(issuer="bench")
    with ExitStack() as stack:
        server = kit._server(stack, "grpc")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=kit.folder)))
        plain = _proxy(stack, folder, "plain", [], server.answer)
        for policy, config in filters(jwks).items():
            bench.step(f"envoy {policy}")
            try:
                with ExitStack() as one:
                    pair = {True: _proxy(one, folder, policy, [config], server.answer), False: plain}
                    bench.report.add(f"policy {policy}", "envoy", "p50, on minus off", "ns/call",
                                     _differences(bench, pair, [("authorization", f"Bearer {token}")]))
            except (NotStarted, grpc.RpcError) as error:
                bench.report.fail(f"policy {policy}", "envoy", error)


def _proxy(stack: ExitStack, folder: Path, name: str, chosen: list[dict[str, Any]], port: str) -> Any:
    """A call through a proxy of its own."""
    at = ("127.0.0.1", free_port())
    stack.enter_context(envoy.start(envoy.bootstrap(at, ("127.0.0.1", int(port)), chosen), folder, name))
    channel = stack.enter_context(grpc.insecure_channel(f"{at[0]}:{at[1]}"))
    return channel.unary_unary("/bench.Echo/Call")


def _differences(bench: Bench, pair: Mapping[bool, Any], metadata: list[tuple[str, str]]) -> list[float]:
    def batch(call: Any) -> list[int]:
        times = []
        for _ in range(BATCH):
            began = time.perf_counter_ns()
            call(b"", metadata=metadata, timeout=CALL_SECONDS, wait_for_ready=True)
            times.append(time.perf_counter_ns() - began)
        return times

    found = []
    for repeat in range(bench.scale.repeats):
        times: dict[bool, list[int]] = {True: [], False: []}
        for turn in range(max(2, int(bench.scale.calls * CALLS_SHARE) // BATCH)):
            for on in ((turn + repeat) % 2 == 0, (turn + repeat) % 2 == 1):
                times[on] += batch(pair[on])
        found.append(percentile(times[True], 50) - percentile(times[False], 50))
    return found

