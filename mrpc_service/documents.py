"""Configuration documents: YAML in Kubernetes' manner, checked against typed models before anything acts on them.

    apiVersion: mrpc/v1alpha1
    kind: PolicyChain
    metadata: {name: guard-search}
    spec:
      selector: {client: frontend, service: hotel.Search, method: "*"}   # each may be left out: any
      side: any                                                          # or client, or server: whose daemon judges
      judged_by: [node-a]                                                # with side server: but calls that this node has judged by it
      policies:
        - {name: limit, use: rate_limit, config: {requests_per_second: 500, burst: 50}}
        - {name: mine, use: ./my_policy.py}                              # a program beside the document

    apiVersion: mrpc/v1alpha1
    kind: Daemon                 # at most one; a command-line flag wins over its field
    spec: {node: a, shards: 2, listen: "127.0.0.1:7700", insecure: true, log_level: info}

Every fault of every document is reported at once, as `FILE, document N, FIELD: what is wrong`. What a policy's `use` names and
what its `config` may hold is checked by `mrpc_service.chains.programs`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mrpc_service.errors import ConfigError

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
    revision: int | None = Field(None, ge=0)  # as `mrpc policy show` wrote it: an apply is refused if the chain has changed since


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
    side: Literal["any", "client", "server"] = "any"
    judged_by: list[Name] = Field([], max_length=1024)  # nodes whose daemons are believed when they say that they have judged a call by it
    policies: list[PolicySpec] = Field(min_length=1)

    @model_validator(mode="after")
    def judged_elsewhere(self) -> ChainSpec:
        if self.judged_by and self.side != "server":
            raise ValueError("judged_by is for chains of side server")
        return self


class PolicyChain(Strict):
    apiVersion: Literal["mrpc/v1alpha1"]
    kind: Literal["PolicyChain"]
    metadata: Metadata
    spec: ChainSpec


class RecorderSpec(Strict):
    """Which calls are recorded for dry runs, and what of them is not. Changes live."""

    calls_max: int = Field(256, ge=0, le=100_000)  # of each shard
    sample: float = Field(1.0, ge=0, le=1)
    redact: list[str] = []  # "package.Message.field", besides fields marked debug_redact


class DaemonSpec(Strict):
    """Settings of the daemon, each as the command-line flag of the same name."""

    node: Name | None = None
    shards: int | None = Field(None, ge=1, le=64)
    listen: str | None = None
    insecure: bool | None = None
    peers: list[str] | None = None
    registry: str | None = None
    policy_store: str | None = None
    policies: list[str] | None = None
    recorder: RecorderSpec | None = None
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
    """A chain, where it was written, and where the programs are that it names by a path."""

    chain: PolicyChain
    source: str
    directory: Path | None = None  # of the document, if the daemon may read files beside it
    programs: Mapping[str, str] = field(default_factory=dict)  # `use` -> text, sent with the document


@dataclass(frozen=True)
class Documents:
    """What files hold. Only without `faults` may anything act on it."""

    chains: list[SourcedChain] = field(default_factory=list)
    daemon: DaemonSpec = DaemonSpec()
    files: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read(paths: Iterable[Path]) -> Documents:
    """Read files, and the .yaml and .yml files of directories, in order of name."""
    faults: list[str] = []
    found: list[tuple[str, Path, Strict]] = []
    files = list(_expand(paths, faults))
    for path in files:
        text = _read_text(path, faults)
        found += [(source, path, document) for source, document in _parse(str(path), text, faults)]
    chains = [SourcedChain(document, source, path.parent) for source, path, document in found if isinstance(document, PolicyChain)]
    daemons = [(source, document) for source, _, document in found if isinstance(document, Daemon)]
    faults += clashes(chains)
    faults += [f"{source}: a second kind: Daemon; the first is in {daemons[0][0]}" for source, _ in daemons[1:]]
    return Documents(chains, daemons[0][1].spec if daemons else DaemonSpec(), files, faults)


def read_chains(name: str, text: str, programs: Mapping[str, str], faults: list[str]) -> list[SourcedChain]:
    """The chains of a text that an operator sent, with the programs that it names by a path. Other kinds are faults."""
    chains = []
    for source, document in _parse(name, text, faults):
        if isinstance(document, PolicyChain):
            chains.append(SourcedChain(document, source, None, programs))
        else:
            faults.append(f"{source}, kind: only a PolicyChain can be applied; a daemon's settings are read from --config")
    return chains


def _expand(paths: Iterable[Path], faults: list[str]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES)
        elif path.exists():
            yield path
        else:
            faults.append(f"{path}: no such file or directory")


def _read_text(path: Path, faults: list[str]) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"larger than {FILE_BYTES_MAX >> 20} MiB")
        return path.read_text()
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        faults.append(f"{path}: {_one_line(error)}")
        return ""


def _parse(name: str, text: str, faults: list[str]) -> Iterable[tuple[str, Strict]]:
    try:
        contents = list(yaml.load_all(text, Loader=_UniqueKeys))
    except (yaml.YAMLError, RecursionError) as error:
        faults.append(f"{name}: {_one_line(error)}")
        return
    for number, content in enumerate(contents, 1):
        source = f"{name}, document {number}"
        if content is not None:  # an empty document, as after a last '---'
            document = _parse_document(source, content, faults)
            if document is not None:
                yield source, document


def _parse_document(source: str, content: Any, faults: list[str]) -> Strict | None:
    kind = content.get("kind") if isinstance(content, dict) else None
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        if kind is None:
            faults.append(f"{source}: there is no kind, which is {' or '.join(KINDS)}; keep other YAML files out of a folder of documents")
        else:
            faults.append(f"{source}, kind: {kind!r} is not one of {', '.join(KINDS)}{did_you_mean(str(kind), KINDS)}")
        return None
    return validate(model, content, source, "", faults)


def validate(model: type[M], content: Any, source: str, prefix: str, faults: list[str]) -> M | None:
    """The model of `content`, or None and its faults, each told as `SOURCE, PREFIX.FIELD: what is wrong`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults += [f"{source}, {_fault(model, prefix, fault)}" for fault in error.errors()]
        return None


def _fault(model: type[BaseModel], prefix: str, fault: Any) -> str:
    where = (prefix + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])).lstrip(".")
    if fault["type"] == "extra_forbidden":
        known = _fields_at(model, fault["loc"][:-1])
        return f"{where}: unknown field{did_you_mean(str(fault['loc'][-1]), known)}"
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


def clashes(chains: list[SourcedChain]) -> list[str]:
    """Faults of chains that are to be in force together."""
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
    return faults


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """"; did you mean 'NEAREST'?", or nothing."""
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
