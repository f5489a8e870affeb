"""What the control plane asks of the data plane: the shape of the native class `mrpc_service._dataplane.Dataplane`.

The native module is the only implementation; this Protocol is its documentation and its type. All methods may be
called from any thread; those that block release the GIL. The dictionaries of `snapshot` have the fields of the
messages of the same name in `proto/mrpc/control/control.proto`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypedDict

from mrpc_service.policy.spec import ProgramSpec


class AppIdentity(TypedDict):
    """An attachment that shows a token of this SHA-256, from a process of this uid, *is* this app."""

    name: str
    uid: int
    token_sha256: bytes
    act_as: list[str]  # tenants on whose behalf it may call; "*" is any


class Binding(TypedDict):
    """A compiled program for one policy of one chain, on the methods that it was compiled for."""

    chain: str
    policy: str
    service: str  # "" with a program that fits every message
    method: str
    fingerprint: int  # of the service's schema; 0 with a program that fits every message
    spec: ProgramSpec


class ShardApplied(TypedDict):
    index: int
    pause_ns: int         # how long the shard stood still to switch
    calls_in_flight: int  # open on it at that moment; each ends by the chain that it entered by
    rows_carried: int     # of state, from policies of the same name


class Applied(TypedDict):
    epoch: int
    pause_ns_max: int
    shards: list[ShardApplied]


class DryRunPolicy(TypedDict):
    """What one policy would have said to the recorded calls, beside what happened to them."""

    chain: str
    policy: str
    evaluated: int
    denied: int
    faults: int
    newly_denied: int   # were let pass then
    newly_passed: int   # were denied then, by a policy of this chain and name
    examples: list[dict[str, Any]]  # at most 5: client, service, method, text
    unjudged: int       # it asked for metadata that is not kept: counted as neither denied nor passed
    withheld: list[str]  # the keys that it asked for


class DryRun(TypedDict):
    calls: int  # recorded calls that the chains select
    denied: int
    policies: list[DryRunPolicy]


class LeaseUse(TypedDict):
    chain: str
    policy: str
    lease: str
    rate_per_s: float   # as configured, of all daemons together
    burst: float
    share: float
    taken: float        # since the last look
    refused: float      # wanted and not granted since the last look
    left: float         # of what was granted


class PolicyRow(TypedDict):
    """A row of a policy's state."""

    policy: str
    scope: list[str]
    key: list[bytes]  # what each part of the scope stands for; for "method" two, service and method
    cells: dict[str, int | float | bool]


class Dataplane(Protocol):
    def start(self) -> None:
        """Bind app.sock, in a directory that the caller has made and locked, and start the threads. RuntimeError."""

    def stop(self, grace_s: float) -> None:
        """Drain: refuse new calls, wait up to `grace_s` for open ones, end all attachments, join the threads."""

    def set_identities(self, apps: list[AppIdentity]) -> None:
        """Replace all bindings of names to principals."""

    def set_service_owners(self, owners: dict[str, str]) -> None:
        """Replace service -> principal ("uid:NNN"); other principals' offers get PERMISSION_DENIED."""

    def events_fd(self) -> int:
        """A descriptor that is readable while `drain_events` has something to return."""

    def drain_events(self) -> list[dict[str, Any]]:
        """Events since the last call. `kind`: attached, detached, offered, withdrawn, peer_up, peer_down, refused, log,
        program_needed (service, fingerprint: a schema on offer that policies in force have no program for yet)."""

    def apply_chains(self, chains: list[dict[str, Any]], bindings: list[Binding]) -> Applied:
        """Replace all chains, or change nothing and raise ValueError with the reason.

        A chain: name, client, service, method ("*" is any), side ("client": judged where the caller is; "server": where the
        endpoint is; "any": by both daemons), judged_by (nodes that are believed when they say that they have judged a call by it),
        policies: name, use, config (of a native engine, or of the program's fields).
        A policy whose `use` is no native engine needs bindings for every method on offer that its chain selects."""

    def add_bindings(self, bindings: list[Binding]) -> None:
        """Programs for methods that came on offer since. Offers that waited for them (event `program_needed`) become visible."""

    def give_up_bindings(self, service: str, fingerprint: int, reason: str) -> None:
        """No program can be made for this schema: the offer becomes visible, and chains that want one refuse its calls."""

    def dry_run(self, chains: list[dict[str, Any]], bindings: list[Binding]) -> DryRun:
        """Judge the recorded calls with these chains, with state of their own. Nothing in force changes. ValueError."""

    def configure_recorder(self, calls_max: int, sample: float, redact: list[str]) -> None:
        """Keep the last `calls_max` calls of each shard, a fraction `sample` of all, without fields named in `redact`
        ("package.Message.field") or marked `debug_redact` in their schema."""

    def recorded(self, limit: int) -> list[dict[str, Any]]:
        """The newest recorded calls: client, tenant, service, method, fingerprint, status, latency_ns, request (protobuf bytes)."""

    def schemas(self) -> list[dict[str, Any]]:
        """Of each service on offer each schema: service, fingerprint, methods, schema (serialised FileDescriptorSet)."""

    def leases(self) -> list[LeaseUse]:
        """Budgets that policies take from, with what they took since the last call of this."""

    def grant_lease(self, chain: str, policy: str, lease: str, tokens: float, shared: bool) -> None:
        """Add to what may be taken. `shared` is False while the budget's store cannot be reached."""

    def policy_rows(self, chain: str) -> list[PolicyRow]:
        """The state of a chain's policies, but of those that look at the end of a call."""

    def put_policy_rows(self, chain: str, rows: list[PolicyRow], adds: bool) -> int:
        """Put rows of another daemon in place, or add what they differ by; how many found their policy and scope. Rows of a policy
        without a program are put when the next change gives it one."""

    def listen(self, address: str) -> str:
        """Take connections of other daemons, in plaintext; returns the address bound. ValueError, RuntimeError."""

    def add_peer(self, address: str) -> int:
        """Dial another daemon, again and again; the id is for `remove_peer`. ValueError for an address that is none."""

    def remove_peer(self, peer_id: int) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def schema(self, service: str) -> bytes:
        """Serialised FileDescriptorSet of an offered service. KeyError."""


class MessageLayouts(Protocol):
    def __call__(self, schema: bytes, message: str) -> dict[str, Any]:
        """`_dataplane.message_layout`: where the fields of a message, and of all that it reaches, stand in an image.

        {"root": full name, "messages": {full name: {"struct_bytes", "fields": {name: {"number", "index" (presence bit), "offset",
        "type" (FieldDescriptorProto.Type), "cardinality" ("singular", "repeated", "map"), "has_presence", "oneof" (-1: none),
        "element_bytes", "message" (full name or ""), "enum" ({name: number} or None), "default" (int, float or bytes)}}}}}.
        KeyError for an unknown message, ValueError for a schema that does not parse."""

    # `_dataplane.message_image(schema, message, protobuf) -> bytes`: the image of a message of protobuf bytes. KeyError, ValueError.

    # ---- hot restart: takeover/ says who calls what when. All on one thread.

    def freeze(self, bound_s: float) -> None:
        """Every thread stands still, work under way has come to rest. RuntimeError when that takes longer: all goes on then."""

    def frozen(self, version: int) -> tuple[bytes, list[int]]:
        """All that a successor needs, as bytes and borrowed descriptors. RuntimeError."""

    def thaw(self) -> None:
        """Go on as if nothing had been."""

    def take_over(self, state: bytes, fds: list[int]) -> None:
        """Instead of a first life, before `start`: go on from what `frozen` gave. Owns the descriptors. ValueError, RuntimeError."""
