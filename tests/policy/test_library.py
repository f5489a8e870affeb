"""The library of policies as a whole: every program loads, has a page that tells the truth, and fits every message that has its fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mrpc_service._dataplane import message_layout

from mrpc_service.policy.declare import declare
from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.front import translate
from mrpc_service.policy.source import read
from mrpc_service.policy.spec import ProgramSpec
from mrpc_service.policy.values import MISSING, check_config
from tests.policy.conformance.forms import POLICIES, ROOT, hotel_schema
from tools.policy_table import lines_of

PAGES = ROOT / "docs/policies"
CHAINS = sorted((ROOT / "policies/chains").glob("*.yaml"))
# What a policy needs told before it loads, with fields by the type of their message.
REQUIRED: dict[str, dict[str, Any]] = {
    "field_mutation": {"value": "x"}, "rate_limit": {"requests_per_second": 1.0}, "global_rate_limit": {"requests_per_second": 1.0},
    "token_check": {"keys": '{"keys": []}'},
}
REPEATED, TEXT, MESSAGE = 3, 9, 11  # FieldDescriptorProto's numbers


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return hotel_schema(tmp_path_factory.mktemp("schema"))


def methods(schema: bytes) -> list[tuple[Any, str, str]]:
    """(request's descriptor, its name, the reply's name) of each method."""
    file, = FileDescriptorSet.FromString(schema).file
    kinds = {f".{file.package}.{each.name}": each for each in file.message_type}
    return [(kinds[method.input_type], method.input_type[1:], method.output_type[1:]) for each in file.service for method in each.method]


def configs(name: str, request: Any) -> list[dict[str, Any]]:
    """Configurations that name each field of the request that the policy can take."""
    fields = {field.name: field.annotation for field in declare(read(POLICIES[name])).config.values()}
    singular = [each.name for each in request.field if each.label != REPEATED and each.type != MESSAGE]
    if name == "field_mutation":
        singular = [each.name for each in request.field if each.label != REPEATED and each.type == TEXT]
    base = REQUIRED.get(name, {})
    if "Field" in fields.values():
        return [{**base, key: field} for key, kind in fields.items() if kind == "Field" for field in singular]
    return [{**base, **{key: singular for key, kind in fields.items() if kind == "Fields"}}]


def load(path: Path, given: dict[str, Any], schema: bytes, request: str, reply: str, previous: ProgramSpec | None = None) -> ProgramSpec:
    """As the compiler does, up to the C compiler. PolicyError, ValueError."""
    source = read(path)
    declared = declare(source).config
    config = check_config(declared, given)
    built_in = {key: value for key, value in config.items() if not declared[key].live}
    return translate(source, built_in, message_layout(schema, request), message_layout(schema, reply), previous)[1]


@pytest.mark.parametrize("name", POLICIES)
def test_it_loads_on_every_method_of_the_hotel_that_has_its_fields(name: str, schema: bytes) -> None:
    loaded = [load(POLICIES[name], config, schema, request, reply)
              for descriptor, request, reply in methods(schema) for config in configs(name, descriptor)]
    assert loaded
    assert len({spec["config_bytes"] for spec in loaded}) == 1


@pytest.mark.parametrize("name", [name for name, path in POLICIES.items() if ": Field" in path.read_text()])
def test_it_is_refused_where_a_field_is_not_there(name: str, schema: bytes) -> None:
    field = next(each.name for each in declare(read(POLICIES[name])).config.values() if each.annotation in ("Field", "Fields"))
    given = {**REQUIRED.get(name, {}), field: ["nowhere"] if "Fields" in POLICIES[name].read_text().split(f"{field}: ")[1][:6] else "nowhere"}
    with pytest.raises(PolicyError, match="nowhere"):
        load(POLICIES[name], given, schema, "hotel.UserRequest", "hotel.UserReply")


@pytest.mark.parametrize("name", POLICIES)
def test_state_moves_to_the_next_version_of_itself_whole(name: str, schema: bytes) -> None:
    config = configs(name, methods(schema)[-1][0])[0]
    before = load(POLICIES[name], config, schema, "hotel.ReservationRequest", "hotel.HotelIds")
    after = load(POLICIES[name], config, schema, "hotel.ReservationRequest", "hotel.HotelIds", before)
    assert after["state"] == before["state"]


def test_most_policies_are_short() -> None:
    lines = {name: lines_of(path) for name, path in POLICIES.items()}
    assert sum(each <= 28 for each in lines.values()) >= 0.9 * len(lines), lines


@pytest.mark.parametrize("name", POLICIES)
def test_its_page_names_every_field_with_its_type_and_default(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (.+?) \| .+ \|$", (PAGES / f"{name}.md").read_text(), re.MULTILINE)
    declared = declare(read(POLICIES[name])).config.values()
    assert [(field, kind) for field, kind, _ in rows] == [(each.name, each.annotation) for each in declared]
    assert [default == "required" for *_, default in rows] == [each.default is MISSING for each in declared]


@pytest.mark.parametrize("name", POLICIES)
def test_the_chain_on_its_page_loads(name: str, schema: bytes) -> None:
    document, = re.findall(r"```yaml\n(.*?)```", (PAGES / f"{name}.md").read_text(), re.DOTALL)
    assert [policy["use"] for policy in load_chain(yaml.safe_load(document), schema)] == [name]


@pytest.mark.parametrize("path", CHAINS, ids=lambda path: path.stem)
def test_a_ready_made_chain_loads_against_the_hotel(path: Path, schema: bytes) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        assert load_chain(document, schema)


def load_chain(document: dict[str, Any], schema: bytes) -> list[dict[str, Any]]:
    """Loads each policy of a chain on each method of the hotel that the chain selects."""
    file, = FileDescriptorSet.FromString(schema).file
    selector = document["spec"].get("selector", {})
    chosen = [(method.input_type[1:], method.output_type[1:]) for service in file.service for method in service.method
              if selector.get("service", "*") in ("*", f"hotel.{service.name}") and selector.get("method", "*") in ("*", method.name)]
    assert chosen, "it selects nothing"
    policies: list[dict[str, Any]] = document["spec"]["policies"]
    for policy in policies:
        for request, reply in chosen:
            load(POLICIES[policy["use"]], policy["config"], schema, request, reply)
    return policies
