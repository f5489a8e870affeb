"""Credentials objects, so that gRPC programs run unchanged.

On the mesh an application does not prove its identity with certificates of its own: the daemon knows each process by the
kernel's word (uid, cgroup, token), and secures what leaves the host. So these objects are accepted and hold what they
were given, and the mesh does not read them. Per-call credentials that add metadata (`metadata_call_credentials`,
`access_token_call_credentials`) do work: what they add travels as metadata.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ._errors import Metadata


class ChannelCredentials:
    """Given to `secure_channel`. See the module's text for what the mesh does with it."""

    def __init__(self, kind: str, *parts: Any) -> None:
        self._kind, self._parts = kind, parts


class ServerCredentials:
    """Given to `Server.add_secure_port`. See the module's text for what the mesh does with it."""

    def __init__(self, kind: str, *parts: Any) -> None:
        self._kind, self._parts = kind, parts


class LocalConnectionType(enum.Enum):
    """Kinds of local connection, by gRPC's names."""

    UDS = 0
    LOCAL_TCP = 1


class AuthMetadataContext(NamedTuple):
    """What a credentials plugin is told about the call. `service_url` has the form "mrpc:///package.Service"."""

    service_url: str
    method_name: str


AuthMetadataPluginCallback = Callable[[Metadata, "Exception | None"], None]
AuthMetadataPlugin = Callable[[AuthMetadataContext, AuthMetadataPluginCallback], None]


class CallCredentials:
    """Adds metadata to each call that is made with it."""

    def __init__(self, plugins: Sequence[AuthMetadataPlugin]) -> None:
        self._plugins = tuple(plugins)

    def metadata_for(self, path: str) -> list[tuple[str, str | bytes]]:
        """Metadata for a call of method `path` ("/package.Service/Method"). Raises what a plugin reports."""
        service, _, method = path.lstrip("/").rpartition("/")
        context = AuthMetadataContext(f"mrpc:///{service}", method)
        return [pair for plugin in self._plugins for pair in _ask(plugin, context)]


def _ask(plugin: AuthMetadataPlugin, context: AuthMetadataContext) -> Metadata:
    answered, answer = threading.Event(), []

    def callback(metadata: Metadata, error: Exception | None) -> None:
        answer.append((metadata, error))
        answered.set()

    plugin(context, callback)
    answered.wait()
    metadata, error = answer[0]
    if error is not None:
        raise error
    return metadata


def metadata_call_credentials(metadata_plugin: AuthMetadataPlugin, name: str | None = None) -> CallCredentials:
    """Credentials that ask `metadata_plugin(context, callback)` for metadata before each call."""
    return CallCredentials([metadata_plugin])


def access_token_call_credentials(access_token: str) -> CallCredentials:
    """Credentials that add `authorization: Bearer TOKEN`."""
    return CallCredentials([lambda context, callback: callback((("authorization", f"Bearer {access_token}"),), None)])


def composite_call_credentials(*call_credentials: CallCredentials) -> CallCredentials:
    """All of them, in order."""
    return CallCredentials([plugin for one in call_credentials for plugin in one._plugins])


class _CompositeChannelCredentials(ChannelCredentials):
    def __init__(self, channel_credentials: ChannelCredentials, call_credentials: CallCredentials) -> None:
        super().__init__("composite", channel_credentials)
        self.call_credentials = call_credentials


def composite_channel_credentials(
    channel_credentials: ChannelCredentials, *call_credentials: CallCredentials
) -> ChannelCredentials:
    """Channel credentials whose channel makes every call with `call_credentials`."""
    return _CompositeChannelCredentials(channel_credentials, composite_call_credentials(*call_credentials))


def call_credentials_of(credentials: ChannelCredentials | None) -> CallCredentials | None:
    """The call credentials that channel credentials carry with them."""
    return getattr(credentials, "call_credentials", None)


def ssl_channel_credentials(
    root_certificates: bytes | None = None, private_key: bytes | None = None, certificate_chain: bytes | None = None
) -> ChannelCredentials:
    """Accepted; on the mesh the daemon authenticates the process and secures the wire."""
    return ChannelCredentials("ssl", root_certificates, private_key, certificate_chain)


def local_channel_credentials(local_connect_type: LocalConnectionType = LocalConnectionType.LOCAL_TCP) -> ChannelCredentials:
    """Accepted; every application of the mesh talks to its host's daemon only."""
    return ChannelCredentials("local", local_connect_type)


def insecure_channel_credentials() -> ChannelCredentials:
    """Accepted; the same as none."""
    return ChannelCredentials("insecure")


def ssl_server_credentials(
    private_key_certificate_chain_pairs: Sequence[tuple[bytes, bytes]],
    root_certificates: bytes | None = None,
    require_client_auth: bool = False,
) -> ServerCredentials:
    """Accepted; on the mesh the daemon authenticates the caller and secures the wire. Raises ValueError as grpcio does."""
    if not private_key_certificate_chain_pairs:
        raise ValueError("ssl_server_credentials needs at least one pair of private key and certificate chain")
    if require_client_auth and root_certificates is None:
        raise ValueError("require_client_auth needs root_certificates to check clients against")
    return ServerCredentials("ssl", tuple(private_key_certificate_chain_pairs), root_certificates, require_client_auth)


def local_server_credentials(local_connect_type: LocalConnectionType = LocalConnectionType.LOCAL_TCP) -> ServerCredentials:
    """Accepted; every application of the mesh talks to its host's daemon only."""
    return ServerCredentials("local", local_connect_type)


def insecure_server_credentials() -> ServerCredentials:
    """Accepted; the same as none."""
    return ServerCredentials("insecure")
