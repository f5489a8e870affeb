from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mrpc_service.chains.model import Chain
from mrpc_service.chains.programs import ProgramLibrary
from mrpc_service.documents import read
from mrpc_service.policy.compiler import Compiler

CHAIN = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {name: guard}
spec:
  selector: {client: frontend, service: hotel.Search, method: "*"}
  policies:
    - {name: limit, use: rate_limit, config: {requests_per_second: 500, burst: 50}}
    - {name: deny-seven, use: access_control, config: {field: room.number, deny: [7, "8"]}}
"""
DAEMON = "apiVersion: mrpc/v1alpha1\nkind: Daemon\nspec: {shards: 2, drain_timeout_s: 5}\n"


def write(directory: Path, text: str, name: str = "a.yaml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def check(path: Path) -> tuple[list[Chain], list[str]]:
    """The chains of a path, and all that is wrong with it."""
    documents = read([path])
    faults = [*documents.faults]

    async def resolve() -> list[Chain]:
        compiler = Compiler(path.parent / "compiled")
        try:
            return await ProgramLibrary(compiler, []).resolve_all(documents.chains, faults)
        finally:
            await compiler.close()

    return asyncio.run(resolve()), faults


def faults_of(path: Path) -> list[str]:
    return check(path)[1]


def test_a_chain_reads_as_the_data_plane_takes_it(tmp_path: Path) -> None:
    (chain,), faults = check(write(tmp_path, CHAIN))
    assert faults == []
    assert chain.native() == {
        "name": "guard", "client": "frontend", "service": "hotel.Search", "method": "*", "side": "any", "judged_by": [],
        "policies": [
            {"name": "limit", "use": "rate_limit", "config": {"requests_per_second": 500, "burst": 50}},
            {"name": "deny-seven", "use": "access_control", "config": {"field": "room.number", "deny": ["7", "8"]}},
        ],
    }


def test_documents_of_a_directory_are_read_in_order_of_name(tmp_path: Path) -> None:
    write(tmp_path, CHAIN.replace("guard", "second"), "20.yml")
    write(tmp_path, CHAIN.replace("guard", "first") + "---\n" + DAEMON + "---\n", "10.yaml")
    write(tmp_path, "not: read", "notes.txt")
    documents = read([tmp_path])
    assert [each.chain.metadata.name for each in documents.chains] == ["first", "second"]
    assert documents.daemon.shards == 2


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("client:", "cliend:", "spec.selector.cliend: unknown field; did you mean 'client'?"),
        ("use: rate_limit", "uze: rate_limit", "spec.policies[0].uze: unknown field; did you mean 'use'?"),
        ("use: rate_limit", "use: rate_limits", "spec.policies[0].use: no policy 'rate_limits'"),
        ("burst: 50", "brust: 50", "spec.policies[0].config.brust: unknown field; did you mean 'burst'?"),
        ("requests_per_second: 500", "requests_per_second: fast", "spec.policies[0].config.requests_per_second: "),
        ("requests_per_second: 500", "requests_per_second: 0", "should be greater than 0, not 0"),
        ('deny: [7, "8"]', "deny: [7], allow: [8]", "spec.policies[1].config: give either 'deny' or 'allow'"),
        ("name: deny-seven", "name: limit", "spec.policies: the name 'limit' is used twice"),
        ("  selector", "  side: servers\n  selector", "spec.side: "),
        ("name: guard", "name: Guard!", "metadata.name: "),
        ("kind: PolicyChain", "kind: PolicyChian", "did you mean 'PolicyChain'?"),
        ("mrpc/v1alpha1", "mrpc/v9", "apiVersion: Input should be 'mrpc/v1alpha1', not 'mrpc/v9'"),
        ("kind: PolicyChain", "kind: PolicyChain\nkind: Daemon", "line 3: the key 'kind' is written twice"),
    ],
)
def test_a_fault_names_file_document_and_field(tmp_path: Path, old: str, new: str, fault: str) -> None:
    path = write(tmp_path, CHAIN.replace(old, new, 1))
    (line,) = [line for line in faults_of(path) if fault in line]
    assert line.startswith(str(path))
    assert "document 1" in line or "line" in line


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, CHAIN.replace("burst", "brust").replace("client:", "cliend:") + "---\nkind: Nothing\n")
    write(tmp_path, "a: [1\n", "b.yaml")
    faults = faults_of(tmp_path)
    assert len(faults) == 3  # the config of a document that is not well-formed itself is not looked at
    assert any("document 2, kind: 'Nothing'" in fault for fault in faults)
    assert any("b.yaml: line 2" in fault for fault in faults), faults


def test_chains_of_one_name_and_two_daemons_clash(tmp_path: Path) -> None:
    write(tmp_path, CHAIN + "---\n" + DAEMON, "a.yaml")
    write(tmp_path, CHAIN + "---\n" + DAEMON, "b.yaml")
    faults = faults_of(tmp_path)
    assert any("chain 'guard' is defined already in" in fault for fault in faults)
    assert any("a second kind: Daemon" in fault for fault in faults)


@pytest.mark.parametrize("text", ["- 1\n", "just text\n", "kind: [PolicyChain]\n", "kind: PolicyChain\n", "kind: {a: 1}\n"])
def test_other_yaml_is_refused(tmp_path: Path, text: str) -> None:
    assert faults_of(write(tmp_path, text))


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"a: " + b"[" * 100_000, b"a: !!python/object:os.system x\n", b"a: &a [1]\nb: *a\n", b"a: {1: {2: [}}\n"],
)
def test_hostile_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert len(faults_of(path)) == 1


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "absent.yaml") == [f"{tmp_path / 'absent.yaml'}: no such file or directory"]
