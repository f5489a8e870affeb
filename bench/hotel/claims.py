"""What the project promises of bench.hotel: each number one claim with a stable id.

A system stands for its better style in each."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.report import Claim, Report
from bench.hotel.measures import CAPACITY, at_share
from bench.hotel.systems import MESH, STYLES, variant
from bench.rpc.claims import best, ratio

TEXTS = {"frontend": "the frontend under the standard mix", "search": "search.Nearby over RPC"}


def make(report: Report) -> Iterator[Claim]:
    """All claims, measured where `report` has the rows."""
    for name, text in TEXTS.items():
        yield Claim(f"hotel.{name}.capacity", f"capacity (closed loop) of {text}: mRPC over gRPC behind Envoys", ">= 2.5",
                    capacity_ratio(report, name, MESH))
        yield Claim(f"hotel.{name}.p99_at_70",
                    f"p99 of {text} at 70 % of the peer's capacity: gRPC behind Envoys over mRPC", ">= 3",
                    cost_ratio(report, name, MESH, "p99"))


def add_ratios(report: Report) -> None:
    """Rows of mRPC beside each peer."""
    for name in TEXTS:
        for peer in ("grpc", MESH):
            ratios = {"capacity": capacity_ratio(report, name, peer)}
            ratios |= {metric: cost_ratio(report, name, peer, metric) for metric in ("p50", "p99", "cpu, all")}
            for metric, value in ratios.items():
                if value is not None:
                    report.add(name, f"mrpc beside {peer}", f"{metric}, better by", "x", [value])


def capacity_ratio(report: Report, name: str, peer: str) -> float | None:
    return ratio(*(best(*by_style(report, name, system, CAPACITY), pick=max) for system in ("mrpc", peer)))


def cost_ratio(report: Report, name: str, peer: str, metric: str) -> float | None:
    """Of something that is the better the less it is, in the open loop."""
    return ratio(*(best(*by_style(report, at_share(name), system, metric)) for system in (peer, "mrpc")))


def by_style(report: Report, work: str, system: str, metric: str) -> list[float | None]:
    return [report.find(work, variant(system, style), metric) for style in STYLES]
