from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Status(_message.Message):
    __slots__ = ("version", "node", "pid", "state", "uptime_ns", "runtime_dir", "state_dir", "socket", "listen", "insecure", "metrics", "registry", "log_level", "config", "config_error", "epoch", "shards", "attachments", "services", "edges", "peers", "open_calls", "rss_bytes", "shared_memory_bytes", "cpu_seconds", "uid", "revision", "features", "policy_store", "takeovers", "takeover_pause_ns")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_NS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_DIR_FIELD_NUMBER: _ClassVar[int]
    STATE_DIR_FIELD_NUMBER: _ClassVar[int]
    SOCKET_FIELD_NUMBER: _ClassVar[int]
    LISTEN_FIELD_NUMBER: _ClassVar[int]
    INSECURE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONFIG_ERROR_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    OPEN_CALLS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    POLICY_STORE_FIELD_NUMBER: _ClassVar[int]
    TAKEOVERS_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_PAUSE_NS_FIELD_NUMBER: _ClassVar[int]
    version: str
    node: str
    pid: int
    state: str
    uptime_ns: int
    runtime_dir: str
    state_dir: str
    socket: str
    listen: str
    insecure: bool
    metrics: str
    registry: str
    log_level: str
    config: _containers.RepeatedScalarFieldContainer[str]
    config_error: str
    epoch: int
    shards: int
    attachments: int
    services: int
    edges: int
    peers: int
    open_calls: int
    rss_bytes: int
    shared_memory_bytes: int
    cpu_seconds: float
    uid: int
    revision: int
    features: _containers.RepeatedScalarFieldContainer[str]
    policy_store: str
    takeovers: int
    takeover_pause_ns: int
    def __init__(self, version: _Optional[str] = ..., node: _Optional[str] = ..., pid: _Optional[int] = ..., state: _Optional[str] = ..., uptime_ns: _Optional[int] = ..., runtime_dir: _Optional[str] = ..., state_dir: _Optional[str] = ..., socket: _Optional[str] = ..., listen: _Optional[str] = ..., insecure: _Optional[bool] = ..., metrics: _Optional[str] = ..., registry: _Optional[str] = ..., log_level: _Optional[str] = ..., config: _Optional[_Iterable[str]] = ..., config_error: _Optional[str] = ..., epoch: _Optional[int] = ..., shards: _Optional[int] = ..., attachments: _Optional[int] = ..., services: _Optional[int] = ..., edges: _Optional[int] = ..., peers: _Optional[int] = ..., open_calls: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., shared_memory_bytes: _Optional[int] = ..., cpu_seconds: _Optional[float] = ..., uid: _Optional[int] = ..., revision: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., policy_store: _Optional[str] = ..., takeovers: _Optional[int] = ..., takeover_pause_ns: _Optional[int] = ...) -> None: ...

class GetSnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("node", "uptime_ns", "epoch", "attachments", "services", "edges", "peers", "shards", "transport")
    class TransportEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_NS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    node: str
    uptime_ns: int
    epoch: int
    attachments: _containers.RepeatedCompositeFieldContainer[Attachment]
    services: _containers.RepeatedCompositeFieldContainer[Service]
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    shards: _containers.RepeatedCompositeFieldContainer[Shard]
    transport: _containers.ScalarMap[str, int]
    def __init__(self, node: _Optional[str] = ..., uptime_ns: _Optional[int] = ..., epoch: _Optional[int] = ..., attachments: _Optional[_Iterable[_Union[Attachment, _Mapping]]] = ..., services: _Optional[_Iterable[_Union[Service, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ..., peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ..., shards: _Optional[_Iterable[_Union[Shard, _Mapping]]] = ..., transport: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Attachment(_message.Message):
    __slots__ = ("id", "app", "principal", "uid", "pid", "label", "role", "send_bytes", "receive_bytes", "receive_committed_bytes", "open_calls")
    ID_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SEND_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_COMMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPEN_CALLS_FIELD_NUMBER: _ClassVar[int]
    id: int
    app: str
    principal: str
    uid: int
    pid: int
    label: str
    role: str
    send_bytes: int
    receive_bytes: int
    receive_committed_bytes: int
    open_calls: int
    def __init__(self, id: _Optional[int] = ..., app: _Optional[str] = ..., principal: _Optional[str] = ..., uid: _Optional[int] = ..., pid: _Optional[int] = ..., label: _Optional[str] = ..., role: _Optional[str] = ..., send_bytes: _Optional[int] = ..., receive_bytes: _Optional[int] = ..., receive_committed_bytes: _Optional[int] = ..., open_calls: _Optional[int] = ...) -> None: ...

class Service(_message.Message):
    __slots__ = ("service", "methods", "endpoints")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    service: str
    methods: _containers.RepeatedScalarFieldContainer[str]
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    def __init__(self, service: _Optional[str] = ..., methods: _Optional[_Iterable[str]] = ..., endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("attachment", "app", "node", "open_calls")
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    OPEN_CALLS_FIELD_NUMBER: _ClassVar[int]
    attachment: int
    app: str
    node: str
    open_calls: int
    def __init__(self, attachment: _Optional[int] = ..., app: _Optional[str] = ..., node: _Optional[str] = ..., open_calls: _Optional[int] = ...) -> None: ...

class Edge(_message.Message):
    __slots__ = ("client", "server", "service", "method", "calls", "codes", "in_flight", "request_bytes", "reply_bytes", "denied", "latency", "policies")
    class CodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    client: str
    server: str
    service: str
    method: str
    calls: int
    codes: _containers.ScalarMap[int, int]
    in_flight: int
    request_bytes: int
    reply_bytes: int
    denied: int
    latency: Histogram
    policies: _containers.RepeatedCompositeFieldContainer[PolicyCounters]
    def __init__(self, client: _Optional[str] = ..., server: _Optional[str] = ..., service: _Optional[str] = ..., method: _Optional[str] = ..., calls: _Optional[int] = ..., codes: _Optional[_Mapping[int, int]] = ..., in_flight: _Optional[int] = ..., request_bytes: _Optional[int] = ..., reply_bytes: _Optional[int] = ..., denied: _Optional[int] = ..., latency: _Optional[_Union[Histogram, _Mapping]] = ..., policies: _Optional[_Iterable[_Union[PolicyCounters, _Mapping]]] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("bounds_ns", "counts", "sum_ns")
    BOUNDS_NS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUM_NS_FIELD_NUMBER: _ClassVar[int]
    bounds_ns: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    sum_ns: int
    def __init__(self, bounds_ns: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ..., sum_ns: _Optional[int] = ...) -> None: ...

class PolicyCounters(_message.Message):
    __slots__ = ("chain", "policy", "use", "evaluations", "denied", "ns_total", "faults", "rows", "evicted")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    NS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    chain: str
    policy: str
    use: str
    evaluations: int
    denied: int
    ns_total: int
    faults: int
    rows: int
    evicted: int
    def __init__(self, chain: _Optional[str] = ..., policy: _Optional[str] = ..., use: _Optional[str] = ..., evaluations: _Optional[int] = ..., denied: _Optional[int] = ..., ns_total: _Optional[int] = ..., faults: _Optional[int] = ..., rows: _Optional[int] = ..., evicted: _Optional[int] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("id", "address", "node", "state", "direction", "error", "services")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    id: int
    address: str
    node: str
    state: str
    direction: str
    error: str
    services: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., address: _Optional[str] = ..., node: _Optional[str] = ..., state: _Optional[str] = ..., direction: _Optional[str] = ..., error: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ...) -> None: ...

class Shard(_message.Message):
    __slots__ = ("index", "turns", "slots", "calls", "frames", "sleeps", "violations", "long_jobs", "client_calls", "server_calls")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    SLEEPS_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    LONG_JOBS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CALLS_FIELD_NUMBER: _ClassVar[int]
    SERVER_CALLS_FIELD_NUMBER: _ClassVar[int]
    index: int
    turns: int
    slots: int
    calls: int
    frames: int
    sleeps: int
    violations: int
    long_jobs: int
    client_calls: int
    server_calls: int
    def __init__(self, index: _Optional[int] = ..., turns: _Optional[int] = ..., slots: _Optional[int] = ..., calls: _Optional[int] = ..., frames: _Optional[int] = ..., sleeps: _Optional[int] = ..., violations: _Optional[int] = ..., long_jobs: _Optional[int] = ..., client_calls: _Optional[int] = ..., server_calls: _Optional[int] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Metrics(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class GetSchemaRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class Schema(_message.Message):
    __slots__ = ("file_descriptor_set",)
    FILE_DESCRIPTOR_SET_FIELD_NUMBER: _ClassVar[int]
    file_descriptor_set: bytes
    def __init__(self, file_descriptor_set: _Optional[bytes] = ...) -> None: ...

class App(_message.Message):
    __slots__ = ("name", "uid", "created_unix_s", "act_as")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    ACT_AS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: int
    created_unix_s: float
    act_as: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[int] = ..., created_unix_s: _Optional[float] = ..., act_as: _Optional[_Iterable[str]] = ...) -> None: ...

class RegisterAppRequest(_message.Message):
    __slots__ = ("name", "uid", "replace", "act_as")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    ACT_AS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: int
    replace: bool
    act_as: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[int] = ..., replace: _Optional[bool] = ..., act_as: _Optional[_Iterable[str]] = ...) -> None: ...

class RegisteredApp(_message.Message):
    __slots__ = ("app", "token")
    APP_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    app: App
    token: str
    def __init__(self, app: _Optional[_Union[App, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class GrantTenantsRequest(_message.Message):
    __slots__ = ("name", "act_as")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACT_AS_FIELD_NUMBER: _ClassVar[int]
    name: str
    act_as: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., act_as: _Optional[_Iterable[str]] = ...) -> None: ...

class ListAppsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AppList(_message.Message):
    __slots__ = ("apps",)
    APPS_FIELD_NUMBER: _ClassVar[int]
    apps: _containers.RepeatedCompositeFieldContainer[App]
    def __init__(self, apps: _Optional[_Iterable[_Union[App, _Mapping]]] = ...) -> None: ...

class RemoveAppRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Owner(_message.Message):
    __slots__ = ("service", "principal", "since_unix_s")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    service: str
    principal: str
    since_unix_s: float
    def __init__(self, service: _Optional[str] = ..., principal: _Optional[str] = ..., since_unix_s: _Optional[float] = ...) -> None: ...

class ListOwnersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OwnerList(_message.Message):
    __slots__ = ("owners",)
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    owners: _containers.RepeatedCompositeFieldContainer[Owner]
    def __init__(self, owners: _Optional[_Iterable[_Union[Owner, _Mapping]]] = ...) -> None: ...

class ReleaseServiceRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class PolicyStateRequest(_message.Message):
    __slots__ = ("chain",)
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    chain: str
    def __init__(self, chain: _Optional[str] = ...) -> None: ...

class PolicyState(_message.Message):
    __slots__ = ("now_ns", "rows")
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    now_ns: int
    rows: _containers.RepeatedCompositeFieldContainer[PolicyRow]
    def __init__(self, now_ns: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[PolicyRow, _Mapping]]] = ...) -> None: ...

class PolicyRow(_message.Message):
    __slots__ = ("policy", "scope", "key", "cells")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    scope: _containers.RepeatedScalarFieldContainer[str]
    key: _containers.RepeatedScalarFieldContainer[bytes]
    cells: _containers.RepeatedCompositeFieldContainer[PolicyCell]
    def __init__(self, policy: _Optional[str] = ..., scope: _Optional[_Iterable[str]] = ..., key: _Optional[_Iterable[bytes]] = ..., cells: _Optional[_Iterable[_Union[PolicyCell, _Mapping]]] = ...) -> None: ...

class PolicyCell(_message.Message):
    __slots__ = ("field", "integer", "number", "flag")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    field: str
    integer: int
    number: float
    flag: bool
    def __init__(self, field: _Optional[str] = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., flag: _Optional[bool] = ...) -> None: ...

class PutPolicyStateRequest(_message.Message):
    __slots__ = ("chain", "state", "adds")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDS_FIELD_NUMBER: _ClassVar[int]
    chain: str
    state: PolicyState
    adds: bool
    def __init__(self, chain: _Optional[str] = ..., state: _Optional[_Union[PolicyState, _Mapping]] = ..., adds: _Optional[bool] = ...) -> None: ...

class PolicyStatePut(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class DocumentFile(_message.Message):
    __slots__ = ("name", "text", "programs")
    class ProgramsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    programs: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ..., programs: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("files", "remove", "prune", "adopt", "revision", "force", "deny_share_max", "cause")
    FILES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    ADOPT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    DENY_SHARE_MAX_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[DocumentFile]
    remove: _containers.RepeatedScalarFieldContainer[str]
    prune: bool
    adopt: bool
    revision: int
    force: bool
    deny_share_max: float
    cause: str
    def __init__(self, files: _Optional[_Iterable[_Union[DocumentFile, _Mapping]]] = ..., remove: _Optional[_Iterable[str]] = ..., prune: _Optional[bool] = ..., adopt: _Optional[bool] = ..., revision: _Optional[int] = ..., force: _Optional[bool] = ..., deny_share_max: _Optional[float] = ..., cause: _Optional[str] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("to", "revision", "force", "deny_share_max")
    TO_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    DENY_SHARE_MAX_FIELD_NUMBER: _ClassVar[int]
    to: int
    revision: int
    force: bool
    deny_share_max: float
    def __init__(self, to: _Optional[int] = ..., revision: _Optional[int] = ..., force: _Optional[bool] = ..., deny_share_max: _Optional[float] = ...) -> None: ...

class PolicyReport(_message.Message):
    __slots__ = ("revision", "epoch", "chains", "changes", "warnings", "compile_ns", "switch_ns", "pause_ns_max", "shards", "programs", "dry_run", "newly_denied", "forced", "error")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    COMPILE_NS_FIELD_NUMBER: _ClassVar[int]
    SWITCH_NS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_NS_MAX_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    NEWLY_DENIED_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    revision: int
    epoch: int
    chains: int
    changes: _containers.RepeatedScalarFieldContainer[str]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    compile_ns: int
    switch_ns: int
    pause_ns_max: int
    shards: _containers.RepeatedCompositeFieldContainer[ShardSwitch]
    programs: _containers.RepeatedCompositeFieldContainer[ProgramInForce]
    dry_run: DryRunResult
    newly_denied: int
    forced: bool
    error: str
    def __init__(self, revision: _Optional[int] = ..., epoch: _Optional[int] = ..., chains: _Optional[int] = ..., changes: _Optional[_Iterable[str]] = ..., warnings: _Optional[_Iterable[str]] = ..., compile_ns: _Optional[int] = ..., switch_ns: _Optional[int] = ..., pause_ns_max: _Optional[int] = ..., shards: _Optional[_Iterable[_Union[ShardSwitch, _Mapping]]] = ..., programs: _Optional[_Iterable[_Union[ProgramInForce, _Mapping]]] = ..., dry_run: _Optional[_Union[DryRunResult, _Mapping]] = ..., newly_denied: _Optional[int] = ..., forced: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class ShardSwitch(_message.Message):
    __slots__ = ("index", "pause_ns", "calls_in_flight", "rows_carried")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PAUSE_NS_FIELD_NUMBER: _ClassVar[int]
    CALLS_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    ROWS_CARRIED_FIELD_NUMBER: _ClassVar[int]
    index: int
    pause_ns: int
    calls_in_flight: int
    rows_carried: int
    def __init__(self, index: _Optional[int] = ..., pause_ns: _Optional[int] = ..., calls_in_flight: _Optional[int] = ..., rows_carried: _Optional[int] = ...) -> None: ...

class ProgramInForce(_message.Message):
    __slots__ = ("chain", "policy", "file", "sha256", "methods")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    chain: str
    policy: str
    file: str
    sha256: str
    methods: int
    def __init__(self, chain: _Optional[str] = ..., policy: _Optional[str] = ..., file: _Optional[str] = ..., sha256: _Optional[str] = ..., methods: _Optional[int] = ...) -> None: ...

class DryRunResult(_message.Message):
    __slots__ = ("calls", "denied", "policies")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    calls: int
    denied: int
    policies: _containers.RepeatedCompositeFieldContainer[DryRunPolicy]
    def __init__(self, calls: _Optional[int] = ..., denied: _Optional[int] = ..., policies: _Optional[_Iterable[_Union[DryRunPolicy, _Mapping]]] = ...) -> None: ...

class DryRunPolicy(_message.Message):
    __slots__ = ("chain", "policy", "evaluated", "denied", "faults", "newly_denied", "newly_passed", "examples", "unjudged", "withheld")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    NEWLY_DENIED_FIELD_NUMBER: _ClassVar[int]
    NEWLY_PASSED_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    UNJUDGED_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    chain: str
    policy: str
    evaluated: int
    denied: int
    faults: int
    newly_denied: int
    newly_passed: int
    examples: _containers.RepeatedCompositeFieldContainer[DryRunExample]
    unjudged: int
    withheld: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, chain: _Optional[str] = ..., policy: _Optional[str] = ..., evaluated: _Optional[int] = ..., denied: _Optional[int] = ..., faults: _Optional[int] = ..., newly_denied: _Optional[int] = ..., newly_passed: _Optional[int] = ..., examples: _Optional[_Iterable[_Union[DryRunExample, _Mapping]]] = ..., unjudged: _Optional[int] = ..., withheld: _Optional[_Iterable[str]] = ...) -> None: ...

class DryRunExample(_message.Message):
    __slots__ = ("client", "service", "method", "text")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    client: str
    service: str
    method: str
    text: str
    def __init__(self, client: _Optional[str] = ..., service: _Optional[str] = ..., method: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class PolicyDiff(_message.Message):
    __slots__ = ("revision", "changes", "unified")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    UNIFIED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    changes: _containers.RepeatedScalarFieldContainer[str]
    unified: str
    def __init__(self, revision: _Optional[int] = ..., changes: _Optional[_Iterable[str]] = ..., unified: _Optional[str] = ...) -> None: ...

class HistoryRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class RevisionList(_message.Message):
    __slots__ = ("revision", "records")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    records: _containers.RepeatedCompositeFieldContainer[Revision]
    def __init__(self, revision: _Optional[int] = ..., records: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("revision", "state", "at_unix_s", "operator_uid", "cause", "changes", "report", "chains")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_UID_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    state: str
    at_unix_s: float
    operator_uid: int
    cause: str
    changes: _containers.RepeatedScalarFieldContainer[str]
    report: PolicyReport
    chains: _containers.RepeatedCompositeFieldContainer[Chain]
    def __init__(self, revision: _Optional[int] = ..., state: _Optional[str] = ..., at_unix_s: _Optional[float] = ..., operator_uid: _Optional[int] = ..., cause: _Optional[str] = ..., changes: _Optional[_Iterable[str]] = ..., report: _Optional[_Union[PolicyReport, _Mapping]] = ..., chains: _Optional[_Iterable[_Union[Chain, _Mapping]]] = ...) -> None: ...

class ShowRequest(_message.Message):
    __slots__ = ("chain", "revision")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    chain: str
    revision: int
    def __init__(self, chain: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class Policies(_message.Message):
    __slots__ = ("revision", "epoch", "chains", "programs", "leases", "unfit")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    UNFIT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    epoch: int
    chains: _containers.RepeatedCompositeFieldContainer[Chain]
    programs: _containers.RepeatedCompositeFieldContainer[ProgramSource]
    leases: _containers.RepeatedCompositeFieldContainer[PolicyLease]
    unfit: _containers.RepeatedCompositeFieldContainer[Unfit]
    def __init__(self, revision: _Optional[int] = ..., epoch: _Optional[int] = ..., chains: _Optional[_Iterable[_Union[Chain, _Mapping]]] = ..., programs: _Optional[_Iterable[_Union[ProgramSource, _Mapping]]] = ..., leases: _Optional[_Iterable[_Union[PolicyLease, _Mapping]]] = ..., unfit: _Optional[_Iterable[_Union[Unfit, _Mapping]]] = ...) -> None: ...

class Chain(_message.Message):
    __slots__ = ("name", "client", "service", "method", "policies", "source", "side", "layer", "changed_in", "document")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CHANGED_IN_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    client: str
    service: str
    method: str
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    source: str
    side: str
    layer: str
    changed_in: int
    document: str
    def __init__(self, name: _Optional[str] = ..., client: _Optional[str] = ..., service: _Optional[str] = ..., method: _Optional[str] = ..., policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., source: _Optional[str] = ..., side: _Optional[str] = ..., layer: _Optional[str] = ..., changed_in: _Optional[int] = ..., document: _Optional[str] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "use", "config_json", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    use: str
    config_json: str
    sha256: str
    def __init__(self, name: _Optional[str] = ..., use: _Optional[str] = ..., config_json: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class ProgramSource(_message.Message):
    __slots__ = ("sha256", "text")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    text: str
    def __init__(self, sha256: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class PolicyLease(_message.Message):
    __slots__ = ("chain", "policy", "lease", "rate_per_s", "left", "taken", "refused", "shared", "error")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    chain: str
    policy: str
    lease: str
    rate_per_s: float
    left: float
    taken: float
    refused: float
    shared: bool
    error: str
    def __init__(self, chain: _Optional[str] = ..., policy: _Optional[str] = ..., lease: _Optional[str] = ..., rate_per_s: _Optional[float] = ..., left: _Optional[float] = ..., taken: _Optional[float] = ..., refused: _Optional[float] = ..., shared: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class Unfit(_message.Message):
    __slots__ = ("service", "fingerprint", "reason")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    service: str
    fingerprint: int
    reason: str
    def __init__(self, service: _Optional[str] = ..., fingerprint: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("service", "method", "client")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    service: str
    method: str
    client: str
    def __init__(self, service: _Optional[str] = ..., method: _Optional[str] = ..., client: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("policies", "unfit")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    UNFIT_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[ExplainedPolicy]
    unfit: _containers.RepeatedCompositeFieldContainer[Unfit]
    def __init__(self, policies: _Optional[_Iterable[_Union[ExplainedPolicy, _Mapping]]] = ..., unfit: _Optional[_Iterable[_Union[Unfit, _Mapping]]] = ...) -> None: ...

class ExplainedPolicy(_message.Message):
    __slots__ = ("chain", "policy", "use", "form", "side", "client", "config_json", "reads", "writes", "state", "evaluations", "denied", "faults", "ns_total", "rows", "evicted")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    NS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    chain: str
    policy: str
    use: str
    form: str
    side: str
    client: str
    config_json: str
    reads: _containers.RepeatedScalarFieldContainer[str]
    writes: _containers.RepeatedScalarFieldContainer[str]
    state: _containers.RepeatedScalarFieldContainer[str]
    evaluations: int
    denied: int
    faults: int
    ns_total: int
    rows: int
    evicted: int
    def __init__(self, chain: _Optional[str] = ..., policy: _Optional[str] = ..., use: _Optional[str] = ..., form: _Optional[str] = ..., side: _Optional[str] = ..., client: _Optional[str] = ..., config_json: _Optional[str] = ..., reads: _Optional[_Iterable[str]] = ..., writes: _Optional[_Iterable[str]] = ..., state: _Optional[_Iterable[str]] = ..., evaluations: _Optional[int] = ..., denied: _Optional[int] = ..., faults: _Optional[int] = ..., ns_total: _Optional[int] = ..., rows: _Optional[int] = ..., evicted: _Optional[int] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Applied(_message.Message):
    __slots__ = ("epoch", "pause_ns_max", "chains", "warnings")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PAUSE_NS_MAX_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    pause_ns_max: int
    chains: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., pause_ns_max: _Optional[int] = ..., chains: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ("lines", "follow")
    LINES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    lines: int
    follow: bool
    def __init__(self, lines: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("sequence", "at_unix_s", "level", "logger", "text")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LOGGER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    at_unix_s: float
    level: str
    logger: str
    text: str
    def __init__(self, sequence: _Optional[int] = ..., at_unix_s: _Optional[float] = ..., level: _Optional[str] = ..., logger: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: str
    def __init__(self, level: _Optional[str] = ...) -> None: ...

class LogLevel(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: str
    def __init__(self, level: _Optional[str] = ...) -> None: ...
