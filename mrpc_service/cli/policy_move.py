"""`mrpc policy move`: another end of the calls between two daemons judges by a chain, with no call judged twice, or by nobody.

    1. the endpoints' daemon   has the chain with side `server`, and `judged_by` names the callers' daemon: it judges what that one has not
    2. the one that will judge  gets the state of the other's policies (moved_state.py)
    3. the callers' daemon     takes the chain's new side: for each call that enters from here on, one switch
    4. the one that judges     gets what the other has still counted

1 and 3 are transactions of their daemons. If 3 fails, 1 is taken back. docs/decisions/020-two-ended-changes.md says why this is exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from mrpc_service.cli.moved_state import Names, StateMove
from mrpc_service.cli.output import connect, emit, output_option, plain
from mrpc_service.cli.policy_change import gate, show_report
from mrpc_service.control.client import ControlClient, ControlError
from mrpc_service.runtime_dir import RuntimeDir

FEATURE, STATE_FEATURE = "judged_by", "policy_state"
Document = dict[str, Any]


class End:
    """One of the two daemons, and the chain as it has it; `document` is None when it has no such chain."""

    def __init__(self, client: ControlClient, chain: str) -> None:
        self.client = client
        status = client.call("GetStatus")
        if FEATURE not in status.features:
            raise click.ClickException(f"mrpcd {status.version} of node {status.node!r} cannot take part in this; upgrade it first")
        self.node: str = status.node
        self.has_state = STATE_FEATURE in status.features
        shown = client.call("Show")
        self.revision: int = shown.revision
        found = next((each for each in shown.chains if each.name == chain), None)
        self.document: Document | None = yaml.safe_load(found.document) if found else None
        self.programs = self._programs(chain) if found else {}

    def _programs(self, chain: str) -> dict[str, str]:
        shown = self.client.call("Show", chain=chain)
        texts = {each.sha256: each.text for each in shown.programs}
        return {each.use: texts[each.sha256] for each in shown.chains[0].policies if each.sha256}

    def apply(self, document: Document, programs: dict[str, str], **options: Any) -> dict[str, Any]:
        """The report. ControlError."""
        document["metadata"].pop("revision", None)
        file = {"name": f"mrpc policy move {document['metadata']['name']}", "text": yaml.safe_dump(document, sort_keys=False), "programs": programs}
        return plain(self.client.call("Apply", files=[file], revision=self.revision, cause="move", **options))


@click.command(short_help="Let the other end of calls to a peer judge by a chain.",
               epilog="\b\nExample: mrpc policy move limits --to server --peer /run/mrpc-b    callers are here, servers behind the other daemon")
@click.argument("chain")
@click.option("--to", "side", type=click.Choice(["client", "server"]), required=True, help="Whose daemon is to judge.")
@click.option("--peer", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="Runtime directory of the endpoints' daemon; of another host, one to which its operator/control.sock is forwarded (ssh -L).")
@click.option("--adopt", is_flag=True, help="Take the chain over from the daemons' configuration files.")
@click.option("--force", is_flag=True, help="Whatever the dry runs say.")
@output_option
@click.pass_context
def move(context: click.Context, chain: str, side: str, peer: Path, adopt: bool, force: bool, output: str) -> None:
    """Let the other end of this daemon's calls to a peer judge by CHAIN, which must be of side client or server.

    No call is judged twice, or by neither. What its policies have counted of these calls goes with it, but for those that count open calls."""
    with connect(context) as here, ControlClient(RuntimeDir(peer.absolute())) as there:
        callers, endpoints = End(here, chain), End(there, chain)
        if callers.node == endpoints.node:
            raise click.ClickException(f"--peer {peer} is node {endpoints.node!r}, as the callers' daemon is: name the endpoints' daemon")
        at_endpoints, at_callers = documents(chain, side, callers, endpoints)
        options = {"adopt": adopt, **gate(force, None)}
        programs = callers.programs or endpoints.programs
        prepared = endpoints.apply(at_endpoints, programs, **options)
        state = state_move(chain, side, callers, endpoints, at_endpoints)
        try:
            rows = state.bring() if state else 0
            moved = callers.apply(at_callers, programs, **options)
        except ControlError:
            there.call("Rollback", to=endpoints.revision, revision=prepared["revision"], force=True)
            raise
        if state:
            state.bring_rest()
    reports = {"endpoints": prepared, "callers": moved, "rows": rows}
    emit(output, reports, lambda: show_reports(reports, callers.node, endpoints.node))


def documents(chain: str, side: str, callers: End, endpoints: End) -> tuple[Document, Document]:
    """The chain as both daemons are to have it: the endpoints', the callers'. ClickException."""
    known = callers.document or endpoints.document
    if known is None:
        raise click.ClickException(f"neither {callers.node!r} nor {endpoints.node!r} has a chain {chain!r}; apply it to one of them")
    if callers.document and callers.document["spec"]["side"] == "any":
        raise click.ClickException(f"chain {chain!r} is of side any, by which both daemons judge: apply it with 'side: client', "
                                   "let the calls that are open end, and move it then")
    if callers.document and endpoints.document and callers.document["spec"]["policies"] != endpoints.document["spec"]["policies"]:
        raise click.ClickException(f"{callers.node!r} and {endpoints.node!r} have different chains {chain!r}; apply one to both, or rename one")
    client = known["spec"]["selector"].get("client", "")
    name = client.removesuffix(f"@{callers.node}")
    remote = name if name in ("", "*") else f"{name}@{callers.node}"
    judged_by = {callers.node, *(endpoints.document or {"spec": {}})["spec"].get("judged_by", [])}
    return changed(endpoints.document or known, remote, side="server", judged_by=sorted(judged_by)), \
        changed(callers.document or known, name, side=side, judged_by=[])


def state_move(chain: str, side: str, callers: End, endpoints: End, at_endpoints: Document) -> StateMove | None:
    """None when the side stays, or one of the two daemons keeps its state to itself."""
    judged_at = callers.document["spec"]["side"] if callers.document else "server"
    if side == judged_at or not (callers.has_state and endpoints.has_state):
        return None
    apps = {edge.client for edge in callers.client.call("GetSnapshot").edges}
    names = Names(callers.node, apps, shared=set(at_endpoints["spec"]["judged_by"]) != {callers.node})
    source, target = (callers, endpoints) if side == "server" else (endpoints, callers)
    return StateMove(chain, source.client, target.client, names, to_endpoints=side == "server")


def changed(document: Document, client: str, **spec: Any) -> Document:
    """A copy with another client and other fields of `spec`."""
    selector = document["spec"]["selector"] | {"client": client}
    return document | {"metadata": dict(document["metadata"]), "spec": document["spec"] | {"selector": selector} | spec}


def show_reports(reports: dict[str, Any], callers: str, endpoints: str) -> None:
    for end, node in (("endpoints", endpoints), ("callers", callers)):
        click.secho(f"{node} ({end})", bold=True)
        show_report(reports[end])
    click.echo(f"{reports['rows']} rows of state moved")
