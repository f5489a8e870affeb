"""The names that applications may use: changing them is a decision, so they are written down here."""

from __future__ import annotations

import inspect
from typing import Any

import grpc
import grpc.aio
import mrpc
import mrpc.aio
import pytest

# What grpcio has and mrpc does not: xDS, ALTS and Google's own credentials, certificate reloading, and .proto import at run time.
NOT_CARRIED = {
    "ServerCertificateConfiguration", "alts_channel_credentials", "alts_server_credentials", "compute_engine_channel_credentials",
    "dynamic_ssl_server_credentials", "ssl_server_certificate_configuration", "xds_channel_credentials", "xds_server_credentials",
    "protos", "protos_and_services", "services",
}  # fmt: skip
OWN = {"BytesView", "MethodInfo", "ServiceInfo", "aio", "channel", "empty", "insecure_channel_credentials"}
NOT_CARRIED_AIO = {"EOF", "BaseError", "Call", "StreamStreamCall", "StreamUnaryCall", "UnaryStreamCall"}


def test_public_names_are_grpcs_and_our_own() -> None:
    assert set(mrpc.__all__) == (set(grpc.__all__) - NOT_CARRIED) | OWN
    assert set(mrpc.aio.__all__) == (set(grpc.aio.__all__) - NOT_CARRIED_AIO) | {"AbortError", "RpcError", "channel"}


@pytest.mark.parametrize("module", [mrpc, mrpc.aio])
def test_public_names_exist_and_say_what_they_are(module: Any) -> None:
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name


def test_enumerations_are_grpcs() -> None:
    for ours, theirs in ((mrpc.StatusCode, grpc.StatusCode), (mrpc.ChannelConnectivity, grpc.ChannelConnectivity)):
        assert {one.name: one.value for one in ours} == {one.name: one.value for one in theirs}
    assert {one.name: int(one) for one in mrpc.Compression} == {one.name: int(one) for one in grpc.Compression}


def test_context_has_grpcs_methods() -> None:
    assert {name for name in dir(grpc.ServicerContext) if not name.startswith("_")} - set(dir(mrpc.ServicerContext)) == set()
    missing = {name for name in dir(grpc.aio.ServicerContext) if not name.startswith("_")} - set(dir(mrpc.aio.ServicerContext))
    assert missing == {"read", "write"}  # streaming
