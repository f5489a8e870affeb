"""The operators' API: translation between its messages and the control plane, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict

from google.protobuf.json_format import ParseDict
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from mrpc_service import logs
from mrpc_service.control import control_pb2 as pb
from mrpc_service.control.errors import mapped_errors
from mrpc_service.control.policies import PolicyMethods
from mrpc_service.control_plane import ControlPlane
from mrpc_service.registry import App


def app_message(app: App) -> pb.App:
    return pb.App(name=app.name, uid=app.uid, created_unix_s=app.created_unix_s, act_as=app.act_as)


class ControlServicer(PolicyMethods):
    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(plane)
        self._plane = plane

    async def get_status(self, request: pb.GetStatusRequest, operator_uid: int) -> pb.Status:
        return pb.Status(**self._plane.status())

    async def get_snapshot(self, request: pb.GetSnapshotRequest, operator_uid: int) -> pb.Snapshot:
        return ParseDict(self._plane.dataplane.snapshot(), pb.Snapshot(), ignore_unknown_fields=True)

    async def get_metrics(self, request: pb.GetMetricsRequest, operator_uid: int) -> pb.Metrics:
        return pb.Metrics(text=self._plane.metrics_text())

    async def get_schema(self, request: pb.GetSchemaRequest, operator_uid: int) -> pb.Schema:
        try:
            return pb.Schema(file_descriptor_set=self._plane.dataplane.schema(request.service))
        except KeyError:
            text = f"no endpoint offers {request.service!r} now; 'mrpc services' shows what is offered"
            raise GRPCError(Status.NOT_FOUND, text) from None

    @mapped_errors
    async def register_app(self, request: pb.RegisterAppRequest, operator_uid: int) -> pb.RegisteredApp:
        app, token = self._plane.register_app(request.name, request.uid, request.act_as, request.replace, operator_uid)
        return pb.RegisteredApp(app=app_message(app), token=token)

    @mapped_errors
    async def grant_tenants(self, request: pb.GrantTenantsRequest, operator_uid: int) -> pb.App:
        return app_message(self._plane.grant_tenants(request.name, request.act_as, operator_uid))

    async def list_apps(self, request: pb.ListAppsRequest, operator_uid: int) -> pb.AppList:
        return pb.AppList(apps=[app_message(app) for app in self._plane.registry.apps()])

    @mapped_errors
    async def remove_app(self, request: pb.RemoveAppRequest, operator_uid: int) -> pb.App:
        return app_message(self._plane.remove_app(request.name, operator_uid))

    async def list_owners(self, request: pb.ListOwnersRequest, operator_uid: int) -> pb.OwnerList:
        return pb.OwnerList(owners=[asdict(owner) for owner in self._plane.registry.owners()])

    @mapped_errors
    async def release_service(self, request: pb.ReleaseServiceRequest, operator_uid: int) -> pb.Owner:
        return pb.Owner(**asdict(self._plane.release_service(request.service, operator_uid)))

    async def read_logs(self, request: pb.ReadLogsRequest, operator_uid: int) -> AsyncIterator[pb.LogLine]:
        sequence = 0
        for line in self._plane.log_ring.tail(request.lines):
            sequence = line.sequence
            yield pb.LogLine(**asdict(line))
        if request.follow:
            async for line in self._plane.log_ring.follow(sequence):
                yield pb.LogLine(**asdict(line))

    async def set_log_level(self, request: pb.SetLogLevelRequest, operator_uid: int) -> pb.LogLevel:
        if request.level:
            if request.level not in logs.LEVELS:
                raise GRPCError(Status.INVALID_ARGUMENT, f"log level {request.level!r} is not one of {', '.join(logs.LEVELS)}")
            self._plane.set_log_level(request.level)
        return pb.LogLevel(level=logs.current_level())
