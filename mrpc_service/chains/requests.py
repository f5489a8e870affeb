"""What operators ask for, turned into new layers: documents, deletions, earlier revisions, files read again, and what the store kept."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrpc_service.chains.apply import Conflict
from mrpc_service.chains.model import Chain, Layers, Record
from mrpc_service.chains.programs import ProgramLibrary
from mrpc_service.chains.store import Revision, RevisionStore
from mrpc_service.documents import PolicyChain, SourcedChain, clashes, read_chains
from mrpc_service.errors import ConfigError, StartupError
from mrpc_service.store import set_aside

log = logging.getLogger("mrpcd.policy")
REQUEST_BYTES_MAX = 4 << 20
Make = Callable[[Layers], Layers]


@dataclass(frozen=True)
class Text:
    """A file of documents as an operator sent it."""

    name: str
    text: str
    programs: Mapping[str, str]  # path, as a policy's `use` has it -> the program's text


@dataclass(frozen=True)
class Request:
    """What to apply: documents, and names to delete. With `prune`, applied chains that are not among the documents go too."""

    texts: Sequence[Text] = ()
    remove: Sequence[str] = ()
    prune: bool = False
    adopt: bool = False


async def make_layers(request: Request, library: ProgramLibrary) -> Make:
    """Checks the documents, at once; the function that is returned checks them against the layers. ConfigError, Conflict."""
    faults: list[str] = []
    if sum(len(text.text) + sum(map(len, text.programs.values())) for text in request.texts) > REQUEST_BYTES_MAX:
        raise ConfigError(f"the documents and programs are larger than {REQUEST_BYTES_MAX >> 20} MiB together; apply them in parts")
    sourced = [chain for text in request.texts for chain in read_chains(text.name, text.text, text.programs, faults)]
    faults += clashes(sourced)
    chains = await library.resolve_all(sourced, faults)
    if faults:
        raise ConfigError("\n".join(faults))
    if not chains and not request.remove and not request.prune:
        raise ConfigError("there is no PolicyChain in what was given; nothing to apply")
    return lambda layers: _merge(layers, chains, request)


def _merge(layers: Layers, chains: Sequence[Chain], request: Request) -> Layers:
    faults = [*_not_ours(layers, chains, request), *_not_there(layers, request)]
    if faults:
        raise ConfigError("\n".join(faults))
    for chain in chains:
        _check_chain_revision(layers, chain)
    given = {chain.name for chain in chains}
    pruned = [chain.name for chain in layers.applied if chain.name not in given] if request.prune else []
    return layers.with_applied(chains, [*request.remove, *pruned])


def _not_ours(layers: Layers, chains: Sequence[Chain], request: Request) -> list[str]:
    applied = {chain.name for chain in layers.applied}
    files = {chain.name: chain.source for chain in layers.config if chain.name not in applied}
    return [
        f"{chain.source}: chain {chain.name!r} belongs to {files[chain.name]}; edit that file and 'mrpc reload', "
        "or --adopt the chain, which then stands in the file's place until it is deleted"
        for chain in chains if chain.name in files and not request.adopt
    ]


def _not_there(layers: Layers, request: Request) -> list[str]:
    applied = {chain.name for chain in layers.applied}
    config = {chain.name: chain.source for chain in layers.config}
    return [
        f"chain {name!r} belongs to {config[name]}; remove it there and 'mrpc reload'" if name in config
        else f"no chain {name!r} is applied; 'mrpc policy show' lists those in force"
        for name in request.remove if name not in applied
    ]


def _check_chain_revision(layers: Layers, chain: Chain) -> None:
    """A document that `mrpc policy show` wrote says what it was made from."""
    made_from = chain.document.metadata.revision
    now = next((each for each in layers.in_force() if each.name == chain.name), None)
    if made_from is not None and (now is None or now.changed_in > made_from):
        what = f"was changed in revision {now.changed_in}" if now else "has been deleted"
        raise Conflict(f"{chain.source}: chain {chain.name!r} {what}, and this document was made from revision {made_from}; "
                       "compare with 'mrpc policy diff', then remove metadata.revision, or begin from 'mrpc policy show'")


def replace_config(chains: Sequence[Chain]) -> Make:
    """For a reload: the config layer is what the files hold now. ConfigError for a name that operators applied meanwhile."""

    def make(layers: Layers) -> Layers:
        applied = {chain.name for chain in layers.applied}
        adopted = applied & {chain.name for chain in layers.config}
        faults = [f"{chain.source}: a chain {chain.name!r} is applied already; 'mrpc policy delete {chain.name}' first, or rename this one"
                  for chain in chains if chain.name in applied - adopted]
        if faults:
            raise ConfigError("\n".join(faults))
        return Layers(tuple(chains), layers.applied)

    return make


async def roll_back(store: RevisionStore, library: ProgramLibrary, revision: int) -> Make:
    """The applied layer as it was in a revision; what files define stays as it is now. ConfigError."""
    found = store.committed(revision)
    if found is None:
        raise ConfigError(f"revision {revision} is not kept, or was never in force; 'mrpc policy history' lists what there is")
    kept = await applied_chains(found, store, library)

    def make(layers: Layers) -> Layers:
        files = {chain.name for chain in layers.config}
        once = {record["name"] for record in found.chains if record["layer"] == "config"}
        faults = [f"chain {chain.name!r} belongs to a file now, and was applied then; rename one of them"
                  for chain in kept if chain.name in files - once and chain.name not in {each.name for each in layers.applied}]
        if faults:
            raise ConfigError("\n".join(faults))
        return Layers(layers.config, tuple(kept))

    return make


async def applied_chains(revision: Revision, store: RevisionStore, library: ProgramLibrary) -> list[Chain]:
    """The applied layer of a revision, with the programs as they were. ConfigError; sqlite3.DatabaseError for a damaged store."""
    faults: list[str] = []
    records = [record for record in revision.chains if record["layer"] == "applied"]
    chains = await library.resolve_all([_sourced(record, store) for record in records], faults)
    if faults:
        raise ConfigError("\n".join(faults))
    return chains


async def restore(store: RevisionStore, library: ProgramLibrary, path: Path, *, reset: bool) -> list[Chain]:
    """The applied layer that was in force when the daemon ended. StartupError for a damaged store, unless `reset`; ConfigError."""
    try:
        for intent in store.abandon_intents():
            log.warning("%s by uid:%d did not finish (the daemon died): what ran before is in force", intent.cause, intent.operator_uid)
        current = store.current()
        return await applied_chains(current, store, library) if current else []
    except (sqlite3.DatabaseError, KeyError, TypeError, json.JSONDecodeError) as error:
        kept = set_aside(path)
        if not reset:
            raise StartupError(
                f"the policy chains in {path} are damaged ({error}); a copy is kept as {kept}; restore a backup, or start with "
                "--reset-store, which begins with the chains of --config alone and forgets those applied"
            ) from None
        log.warning("the policy chains in %s were damaged (%s) and are forgotten; a copy is kept as %s", path, error, kept)
        store.clear()
        return []
    except ConfigError as error:
        raise ConfigError(f"applied chains cannot be put in force: {error}\n--config-only starts without them") from None


def _sourced(record: Record, store: RevisionStore) -> SourcedChain:
    texts = store.sources(record["programs"].values())
    programs = {use: texts[sha256] for use, sha256 in record["programs"].items()}
    try:
        return SourcedChain(PolicyChain.model_validate(record["document"]), record["source"], None, programs)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"chain {record['name']!r} is not a document: {error}") from None
