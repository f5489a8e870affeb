"""gRPC's health check, beside each service: SERVING while its process serves, NOT_SERVING once it has been told to end."""
from __future__ import annotations

from typing import Any

from .rpc import health_pb, health_pb_grpc


class Health(health_pb_grpc.HealthServicer):
    """Answers for the server as a whole (the empty name) and for the one service that it offers."""

    METHODS = ["Check"]

    def __init__(self, service: str) -> None:
        self._names = ("", service)
        self.serving = True

    async def Check(self, request: Any) -> Any:
        if request.service not in self._names:
            raise LookupError(f"this server offers {self._names[1]}, not {request.service!r}")
        status = health_pb.HealthCheckResponse.SERVING if self.serving else health_pb.HealthCheckResponse.NOT_SERVING
        return health_pb.HealthCheckResponse(status=status)


add_to_server = health_pb_grpc.add_HealthServicer_to_server
