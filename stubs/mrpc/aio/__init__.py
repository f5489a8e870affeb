"""mrpc for asyncio, by grpc.aio's names: `import mrpc; mrpc.aio.insecure_channel(...)`."""

from .._errors import Metadata, RpcContext, RpcError
from ._call import UnaryUnaryCall
from ._channel import (
    Channel,
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
    channel,
    insecure_channel,
    secure_channel,
)
from ._context import ServicerContext
from ._errors import AbortError, AioRpcError, InternalError, UsageError
from ._interceptors import (
    ClientCallDetails,
    ClientInterceptor,
    InterceptedUnaryUnaryCall,
    ServerInterceptor,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)
from ._server import Server, server


def init_grpc_aio() -> None:
    """Accepted: there is nothing to set up."""


def shutdown_grpc_aio() -> None:
    """Accepted: there is nothing to take down."""


__all__ = (
    "AbortError",
    "AioRpcError",
    "Channel",
    "ClientCallDetails",
    "ClientInterceptor",
    "InterceptedUnaryUnaryCall",
    "InternalError",
    "Metadata",
    "RpcContext",
    "RpcError",
    "Server",
    "ServerInterceptor",
    "ServicerContext",
    "StreamStreamClientInterceptor",
    "StreamStreamMultiCallable",
    "StreamUnaryClientInterceptor",
    "StreamUnaryMultiCallable",
    "UnaryStreamClientInterceptor",
    "UnaryStreamMultiCallable",
    "UnaryUnaryCall",
    "UnaryUnaryClientInterceptor",
    "UnaryUnaryMultiCallable",
    "UsageError",
    "channel",
    "init_grpc_aio",
    "insecure_channel",
    "secure_channel",
    "server",
    "shutdown_grpc_aio",
)
