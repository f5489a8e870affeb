"""Each policy of policies/ in a real daemon, between a real client and a real server of the hotel's protocol.

    mesh:
      - config: {...}
        calls: one after another; each is a request (`customer_name_bytes: N` makes a long name), with `metadata`, and what must come of it:
            status: of the call; served: whether the server was asked; saw, saw_metadata, saw_no_metadata: what the server got
            took_at_least: time; log: what stands in the daemon's log then; reply_ids: how many hotels the server answers with
            wait_for: true: retried until it succeeds, where the policy needs a moment after it was applied
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mrpc
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mrpc import testing

from mrpc_service.control.client import ControlClient
from mrpc_service.runtime_dir import RuntimeDir
from tests.policy.conformance import forms

CASES = [pytest.param(name, case, id=f"{name} {case['config']}") for name, case in forms.cases("mesh")]
CALL_SECONDS = 20
SOON_SECONDS = 10
SWAPS = 5


class Desk:
    """The server's side: remembers what it was asked, and answers with as many hotels as it is told to."""

    def __init__(self, pb: Any) -> None:
        self.pb, self.seen, self.reply_ids = pb, list[tuple[Any, dict[str, str]]](), 1

    def MakeReservation(self, request: Any, context: Any) -> Any:
        fields = {"customer_name": request.customer_name, "in_date": request.in_date, "room_number": request.room_number}
        self.seen.append((fields, dict(context.invocation_metadata())))
        return self.pb.HotelIds(hotel_ids=["0123456789"] * self.reply_ids)


class Mesh:
    """A daemon with a client and a server, and its operators' API."""

    def __init__(self, control: ControlClient, desk: Desk, call: Any) -> None:
        self.control, self.desk, self.call = control, desk, call
        self.policies = 0

    def apply(self, name: str, config: dict[str, Any], version: int = 0) -> Any:
        """The policy alone in force. With a `version` it takes the place, and the state, of the one before."""
        self.policies += not version
        use = f"./{name}.py"
        document = {"apiVersion": "mrpc/v1alpha1", "kind": "PolicyChain", "metadata": {"name": "under-test"},
                    "spec": {"policies": [{"name": f"policy-{self.policies}", "use": use, "config": config}]}}
        file = {"name": "test", "text": yaml.safe_dump(document), "programs": {use: forms.POLICIES[name].read_text() + f"\n# version {version}\n"}}
        return self.control.call("Apply", files=[file], prune=True, force=True, revision=self.control.call("Show").revision)

    def log_has(self, text: str) -> bool:
        return any(text in line.text for line in self.control.stream("ReadLogs", lines=0))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    from apps.hotel.rpc import pb, pb_grpc

    with testing.mesh() as running, ControlClient(RuntimeDir(running.runtime_dir)) as control:
        desk = Desk(pb)
        server = mrpc.server(ThreadPoolExecutor(4))
        pb_grpc.add_ReservationServicer_to_server(type("Servicer", (pb_grpc.ReservationServicer,), {
            "MakeReservation": staticmethod(desk.MakeReservation)})(), server)
        server.start()
        with mrpc.insecure_channel("mrpc:///hotel.Reservation") as channel:
            method = pb_grpc.ReservationStub(channel).MakeReservation
            method(pb.ReservationRequest(), timeout=CALL_SECONDS, wait_for_ready=True)
            yield Mesh(control, desk, lambda fields, metadata: method(
                pb.ReservationRequest(**fields), metadata=metadata, timeout=CALL_SECONDS))
        server.stop(None)


@pytest.fixture(scope="module")
def words() -> dict[str, str]:
    """What stands for keys and tokens in the cases."""
    key = Ed25519PrivateKey.generate()

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def token(audience: str, life_s: int) -> str:
        claims = {"sub": "alice", "aud": audience, "exp": int(time.time()) + life_s}
        signed = f"{text(json.dumps({'alg': 'EdDSA', 'kid': '1'}).encode())}.{text(json.dumps(claims).encode())}"
        return f"Bearer {signed}.{text(key.sign(signed.encode()))}"

    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": text(key.public_key().public_bytes_raw())}
    return {"KEYS": json.dumps({"keys": [jwk]}), "TOKEN": token("desk", 3600), "OTHER_AUDIENCE": token("till", 3600),
            "EXPIRED": token("desk", -3600)}


def status_of(mesh: Mesh, call: dict[str, Any], words: dict[str, str]) -> str:
    fields = dict(call["request"])
    if "customer_name_bytes" in fields:
        fields["customer_name"] = "x" * fields.pop("customer_name_bytes")
    metadata = [(key, words.get(value, value)) for key, value in call.get("metadata", {}).items()]
    mesh.desk.reply_ids = call.get("reply_ids", 1)
    try:
        mesh.call(fields, metadata)
    except mrpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def soon(condition: Any) -> bool:
    deadline = time.monotonic() + SOON_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
    return False


def run(mesh: Mesh, call: dict[str, Any], words: dict[str, str]) -> None:
    mesh.desk.seen.clear()
    began = time.monotonic_ns()
    if call.get("wait_for"):
        assert soon(lambda: status_of(mesh, call, words) == call["status"])
        return
    assert status_of(mesh, call, words) == call["status"]
    if "took_at_least" in call:
        assert time.monotonic_ns() - began >= forms.duration_ns(call["took_at_least"])
    if "served" in call:
        assert len(mesh.desk.seen) == call["served"]
    for name, value in call.get("saw", {}).items():
        assert mesh.desk.seen[0][0][name] == value
    for name, value in call.get("saw_metadata", {}).items():
        assert mesh.desk.seen[0][1][name] == value
    assert not set(call.get("saw_no_metadata", [])) & (mesh.desk.seen[0][1].keys() if mesh.desk.seen else set())
    if "log" in call:
        assert soon(lambda: mesh.log_has(call["log"]))


def configured(case: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    return {key: words.get(value, value) if isinstance(value, str) else value for key, value in case["config"].items()}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_calls_meet_what_the_policy_says(mesh: Mesh, words: dict[str, str], name: str, case: dict[str, Any]) -> None:
    mesh.apply(name, configured(case, words))
    for call in case["calls"]:
        run(mesh, call, words)


@pytest.mark.parametrize(("name", "case"), [each for each in CASES if not any("log" in call for call in each.values[1]["calls"])])
def test_it_is_swapped_for_itself_under_load_and_keeps_its_state(
        mesh: Mesh, words: dict[str, str], name: str, case: dict[str, Any]) -> None:
    """The last call of the case, which state may have decided, comes to the same again and again while the program is replaced."""
    config = configured(case, words)
    mesh.apply(name, config)
    for call in case["calls"]:
        run(mesh, call, words)
    last, done, found = case["calls"][-1], threading.Event(), set[str]()

    def load() -> None:
        while not done.is_set():
            found.add(status_of(mesh, last, words))

    caller = threading.Thread(target=load)
    caller.start()
    try:
        for version in range(SWAPS):
            mesh.apply(name, config, version + 1)
    finally:
        done.set()
        caller.join()
    assert found == {last["status"]}
