"""Why a call was refused, for programs."""
from __future__ import annotations

from typing import Any, NamedTuple

from ..transport import mesh_modules

DETAILS_KEY = "grpc-status-details-bin"


class Reason(NamedTuple):
    """name: such as NOT_FOUND, QUOTA_EXCEEDED, QUEUE_FULL. figures: such as retry_after_s."""
    name: str
    figures: dict[str, str]


def reason(error: Any) -> Reason | None:
    """Of an RpcError that this service raised; None when another did (a policy, the mesh)."""
    if hasattr(error, "reason"):
        return error.reason
    rich = next((value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY), None)
    if rich is None:
        return None
    errors = mesh_modules()[2]
    for detail in errors.Status.FromString(rich).details:
        if detail.type_url.endswith("google.rpc.ErrorInfo"):
            info = errors.ErrorInfo.FromString(bytes(detail.value))
            return Reason(info.reason, dict(info.metadata))
    return None
