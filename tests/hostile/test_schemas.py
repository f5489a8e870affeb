"""Clients whose schema is another than the server's: whatever they renumber, rename, hide or send twice, a field policy sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mrpc
import pytest
from google.protobuf import descriptor_pb2
from mrpc.protoc import main as protoc

from . import raw_app
from .conftest import CAP_S, Host, needs_root
from .raw_app import RawApp

POLICY = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {name: guard}
spec:
  selector: {service: bank.Bank}
  policies:
    - {name: no-mallory, use: access_control, config: {field: account, deny: [mallory]}}
"""
SERVICE = """\
syntax = "proto3";
package bank;
service Bank { rpc Pay(Payment) returns (Receipt); }
message Receipt { string seen = 1; string note = 2; }
"""
SERVER = SERVICE + "message Payment { string account = 1; string note = 2; }\n"
CLIENTS = {
    "same": SERVER,
    "renamed": SERVICE + "message Payment { string harmless = 1; string account = 2; }\n",
    "renumbered": SERVICE + "message Payment { string note = 1; string account = 7; }\n",
    "moved": SERVICE + "message Payment { repeated int32 padding = 3; string memo = 9; string whatever = 1; }\n",
    "bytes": SERVICE + "message Payment { bytes account = 1; string note = 2; }\n",
    "hidden": SERVICE + "message Payment { string note = 2; }\n",
}


@pytest.fixture(scope="module")
def modules(public: Path) -> Iterator[dict[str, Any]]:
    """bank_mrpc.py of the server and of each client, in packages of their own."""
    import importlib
    import sys

    root = public / "schemas"
    root.mkdir()
    for name, text in ({"server": SERVER} | CLIENTS).items():
        folder = root / f"bank_{name}"
        folder.mkdir()
        (folder / "bank.proto").write_text(text)
        assert protoc(["-I", str(folder), "--out", str(folder), "bank.proto"]) == 0
        (folder / "__init__.py").touch()
    sys.path.insert(0, str(root))
    yield {name: importlib.import_module(f"bank_{name}.bank_mrpc") for name in ["server", *CLIENTS]}
    sys.path.remove(str(root))


@pytest.fixture(scope="module")
def guarded(public: Path) -> Iterator[Host]:
    from .conftest import host

    config = public / "guard.yaml"
    config.write_text(POLICY)
    with host(public, "--config", str(config)) as running:
        yield running


@pytest.fixture
def bank(guarded: Host, modules: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The accounts that the server's handler has seen."""
    monkeypatch.setenv("MRPC_RUNTIME_DIR", str(guarded.runtime_dir))
    module, seen = modules["server"], []

    class Servicer(module.BankServicer):  # type: ignore[misc, name-defined]
        def Pay(self, request: Any, context: Any) -> Any:
            seen.append(request.account)
            return module.Receipt(seen=request.account, note=request.note)

    server = mrpc.server()
    module.add_BankServicer_to_server(Servicer(), server)
    server.start()
    yield seen
    server.stop(None).wait()
    assert "mallory" not in seen
    assert guarded.alive()


def pay(module: Any, **fields: Any) -> Any:
    with mrpc.channel("mrpc:///bank.Bank") as channel:
        return module.BankStub(channel).Pay(module.Payment(**fields), timeout=CAP_S)


def denied(call: Callable[[], Any]) -> bool:
    with pytest.raises(mrpc.RpcError) as raised:
        call()
    error = raised.value
    return error.code() is mrpc.StatusCode.PERMISSION_DENIED and "guard" in error.details() and "no-mallory" in error.details()


def test_the_policy_works_at_all(bank: list[str], modules: dict[str, Any]) -> None:
    assert pay(modules["same"], account="ann", note="n").seen == "ann"
    assert denied(lambda: pay(modules["same"], account="mallory"))
    assert bank == ["ann"]


def test_a_renamed_field_is_judged_by_its_number(bank: list[str], modules: dict[str, Any]) -> None:
    assert denied(lambda: pay(modules["renamed"], harmless="mallory", account="ann"))
    reply = pay(modules["renamed"], harmless="bob", account="mallory")  # their account is the server's note
    assert (reply.seen, reply.note) == ("bob", "mallory")


def test_a_renumbered_field_is_what_the_server_reads(bank: list[str], modules: dict[str, Any]) -> None:
    assert denied(lambda: pay(modules["renumbered"], note="mallory", account="ann"))
    assert pay(modules["renumbered"], note="bob", account="mallory").seen == "bob"
    assert denied(lambda: pay(modules["moved"], whatever="mallory", padding=[1, 2, 3], memo="x"))


def test_another_type_of_the_same_wire_form_is_judged(bank: list[str], modules: dict[str, Any]) -> None:
    assert denied(lambda: pay(modules["bytes"], account=b"mallory"))
    assert pay(modules["bytes"], account=b"bob").seen == "bob"
    with pytest.raises(mrpc.RpcError):
        pay(modules["bytes"], account=b"\xff")  # no text in the server's eyes


def test_a_field_hidden_as_unknown_is_judged(bank: list[str], modules: dict[str, Any]) -> None:
    """Protobuf bytes with a field that the client's own schema lacks; the last of two counts, for policy and server alike."""
    module = modules["hidden"]

    def smuggle(*accounts: bytes) -> Any:
        content = b"".join(b"\x0a" + bytes([len(account)]) + account for account in accounts)
        with mrpc.channel("mrpc:///bank.Bank") as channel:
            return module.BankStub(channel).Pay(module.Payment.FromString(content), timeout=CAP_S)

    assert denied(lambda: smuggle(b"mallory"))
    assert denied(lambda: smuggle(b"ann", b"mallory"))
    assert smuggle(b"mallory", b"ann").seen == "ann"


def raw_schema(text_field: int) -> bytes:
    """bank.proto with `account` under another number, as a FileDescriptorSet."""
    file = descriptor_pb2.FileDescriptorProto(name="bank.proto", package="bank", syntax="proto3")
    payment = file.message_type.add(name="Payment")
    payment.field.add(name="other", json_name="other", number=text_field, type=9, label=1)
    receipt = file.message_type.add(name="Receipt")
    receipt.field.add(name="seen", json_name="seen", number=1, type=9, label=1)
    file.service.add(name="Bank").method.add(name="Pay", input_type=".bank.Payment", output_type=".bank.Receipt")
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


@needs_root
def test_a_raw_image_with_the_field_among_the_unknown_ones(bank: list[str], guarded: Host, attack: Callable[..., Any]) -> None:
    """An image by hand: `account` stands, twice, in the unknown fields of a schema that has no such field."""
    unknown = b"\x0a\x03ann" + b"\x0a\x07mallory"
    image = raw_app.PAIR.pack(24, len(unknown)) + bytes(16) + unknown

    def work(link: Any) -> tuple[int, str]:
        app = RawApp(guarded.runtime_dir).attach()
        handle = app.bind(app.register(raw_schema(5)), "bank.Bank")
        app.push(app.opening(handle, 1, image))
        done = app.completion()
        return done.code, app.reply_text(done)

    code, text = attack(work).result()
    assert code == mrpc.StatusCode.PERMISSION_DENIED.value[0] and "no-mallory" in text
