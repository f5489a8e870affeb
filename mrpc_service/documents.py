"""Configuration documents: YAML in Kubernetes' manner, checked against typed models before anything acts on them.

    apiVersion: mrpc/v1alpha1
    kind: PolicyChain
    metadata: {name: guard-search}
    spec:
      selector: {client: frontend, service: hotel.Search, method: "*"}   # each may be left out: any
      policies:
        - {name: limit, use: rate_limit, config: {requests_per_second: 500, burst: 50}}

    apiVersion: mrpc/v1alpha1
    kind: Daemon                 # at most one; a command-line flag wins over its field
    spec: {node: a, shards: 2, listen: "127.0.0.1:7700", insecure: true, log_level: info}

Every fault of every document is reported at once, as `FILE, document N, FIELD: what is wrong`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mrpc_service.errors import ConfigError
from mrpc_service.policy_configs import CONFIGS

API_VERSION = "mrpc/v1alpha1"
FILE_BYTES_MAX = 4 << 20
SUFFIXES = (".yaml", ".yml")
M = TypeVar("M", bound=BaseModel)

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
LogLevelName = Literal["debug", "info", "warning", "error"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Metadata(Strict):
    name: Name


class Selector(Strict):
    """Which edges a chain is put on; a part that is empty or `*` selects all."""

    client: str = ""
    service: str = ""
    method: str = ""


class PolicySpec(Strict):
    name: Name
    use: str
    config: dict[str, Any] = {}


class ChainSpec(Strict):
    selector: Selector = Selector()
    policies: list[PolicySpec] = Field(min_length=1)


class PolicyChain(Strict):
    apiVersion: Literal["mrpc/v1alpha1"]
    kind: Literal["PolicyChain"]
    metadata: Metadata
    spec: ChainSpec


class DaemonSpec(Strict):
    """Settings of the daemon, each as the command-line flag of the same name."""

    node: Name | None = None
    shards: int | None = Field(None, ge=1, le=64)
    listen: str | None = None
    insecure: bool | None = None
    peers: list[str] | None = None
    registry: str | None = None
    advertise: str | None = None
    metrics: str | None = None
    log_level: LogLevelName | None = None
    drain_timeout_s: float | None = Field(None, ge=0, le=3600)
    spin_us: int | None = Field(None, ge=0, le=1000)
    message_bytes_max: int | None = Field(None, ge=4096, le=1 << 30)
    send_quota_bytes: int | None = Field(None, ge=1 << 20, le=1 << 32)
    receive_quota_bytes: int | None = Field(None, ge=1 << 20, le=1 << 32)


class Daemon(Strict):
    apiVersion: Literal["mrpc/v1alpha1"]
    kind: Literal["Daemon"]
    metadata: Metadata | None = None
    spec: DaemonSpec = DaemonSpec()


KINDS: dict[str, type[Strict]] = {"PolicyChain": PolicyChain, "Daemon": Daemon}


@dataclass(frozen=True)
class SourcedChain:
    """A chain and where it was written."""

    chain: PolicyChain
    source: str

    def native(self) -> dict[str, Any]:
        """As `Dataplane.apply_chains` takes it."""
        spec = self.chain.spec.model_dump()
        selector = {part: "" if name == "*" else name for part, name in spec["selector"].items()}
        policies = [policy | {"config": _native_config(policy["config"])} for policy in spec["policies"]]
        return {"name": self.chain.metadata.name, "selector": selector, "policies": policies}


def _native_config(config: dict[str, Any]) -> dict[str, Any]:
    """The data plane compares values as text, so that `deny: [7]` and `deny: ["7"]` are one."""
    return {key: [str(each) for each in value] if isinstance(value, list) else value for key, value in config.items()}


@dataclass(frozen=True)
class Documents:
    chains: list[SourcedChain] = field(default_factory=list)
    daemon: DaemonSpec = DaemonSpec()
    files: list[Path] = field(default_factory=list)


def load(paths: Iterable[Path]) -> Documents:
    """Read files, and the .yaml and .yml files of directories, in order of name. ConfigError, with all faults."""
    faults: list[str] = []
    chains: list[SourcedChain] = []
    daemons: list[tuple[str, Daemon]] = []
    files = list(_expand(paths, faults))
    for path in files:
        for source, document in _parse_file(path, faults):
            if isinstance(document, PolicyChain):
                chains.append(SourcedChain(document, source))
            elif isinstance(document, Daemon):
                daemons.append((source, document))
    faults += _clashes(chains, daemons)
    if faults:
        raise ConfigError("\n".join(faults))
    return Documents(chains, daemons[0][1].spec if daemons else DaemonSpec(), files)


def _expand(paths: Iterable[Path], faults: list[str]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES)
        elif path.exists():
            yield path
        else:
            faults.append(f"{path}: no such file or directory")


def _parse_file(path: Path, faults: list[str]) -> Iterable[tuple[str, Strict]]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"larger than {FILE_BYTES_MAX >> 20} MiB")
        contents = list(yaml.load_all(path.read_text(), Loader=_UniqueKeys))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError, RecursionError) as error:
        faults.append(f"{path}: {_one_line(error)}")
        return
    for number, content in enumerate(contents, 1):
        source = f"{path}, document {number}"
        if content is not None:  # an empty document, as after a last '---'
            document = _parse_document(source, content, faults)
            if document is not None:
                yield source, document


def _parse_document(source: str, content: Any, faults: list[str]) -> Strict | None:
    kind = content.get("kind") if isinstance(content, dict) else None
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        faults.append(f"{source}, kind: {kind!r} is not one of {', '.join(KINDS)}{_did_you_mean(str(kind), KINDS)}")
        return None
    document = _validate(model, content, source, "", faults)
    if isinstance(document, PolicyChain):
        _check_configs(document, source, faults)
    return document


def _check_configs(document: PolicyChain, source: str, faults: list[str]) -> None:
    for index, policy in enumerate(document.spec.policies):
        where = f"spec.policies[{index}]"
        if policy.use in CONFIGS:
            _validate(CONFIGS[policy.use], policy.config, source, f"{where}.config", faults)
        else:
            faults.append(f"{source}, {where}.use: no policy {policy.use!r}; there are {', '.join(CONFIGS)}"
                          f"{_did_you_mean(policy.use, CONFIGS)}")


def _validate(model: type[M], content: Any, source: str, prefix: str, faults: list[str]) -> M | None:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults += [f"{source}, {_fault(model, prefix, fault)}" for fault in error.errors()]
        return None


def _fault(model: type[BaseModel], prefix: str, fault: Any) -> str:
    where = (prefix + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])).lstrip(".")
    if fault["type"] == "extra_forbidden":
        known = _fields_at(model, fault["loc"][:-1])
        return f"{where}: unknown field{_did_you_mean(str(fault['loc'][-1]), known)}"
    if fault["type"] == "missing":
        return f"{where}: is required"
    if fault["type"] == "value_error":
        return f"{where}: {fault['ctx']['error']}"
    return f"{where}: {fault['msg']}, not {fault['input']!r}"


def _fields_at(model: Any, location: tuple[Any, ...]) -> list[str]:
    """Field names of the model that lies at `location` within `model`."""
    for part in location:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    """The model in `Model`, `Model | None` or `list[Model]`."""
    candidates = [annotation, *get_args(annotation)]
    return next(found for found in candidates if isinstance(found, type) and issubclass(found, BaseModel))


def _clashes(chains: list[SourcedChain], daemons: list[tuple[str, Daemon]]) -> list[str]:
    faults = []
    seen: dict[str, str] = {}
    for sourced in chains:
        name = sourced.chain.metadata.name
        if name in seen:
            faults.append(f"{sourced.source}, metadata.name: chain {name!r} is defined already in {seen[name]}")
        seen.setdefault(name, sourced.source)
        policies = [policy.name for policy in sourced.chain.spec.policies]
        for twice in sorted({policy for policy in policies if policies.count(policy) > 1}):
            faults.append(f"{sourced.source}, spec.policies: the name {twice!r} is used twice")
    faults += [f"{source}: a second kind: Daemon; the first is in {daemons[0][0]}" for source, _ in daemons[1:]]
    return faults


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split()) or type(error).__name__


class _UniqueKeys(yaml.SafeLoader):
    """YAML without its silent last-one-wins for a key that is written twice, and without aliases' blow-up."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is written twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)
