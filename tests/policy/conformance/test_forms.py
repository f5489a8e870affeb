"""Each policy of policies/, interpreted and compiled, does what its cases say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.conformance import forms

CASES = [pytest.param(name, case, id=f"{name}: {case['name']}") for name, case in forms.cases("cases")]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Classes of the request and the reply."""
    find = forms.messages(forms.hotel_schema(tmp_path_factory.mktemp("schema")))
    return find("hotel.ReservationRequest"), find("hotel.HotelIds")


@pytest.mark.parametrize(("name", "case"), CASES)
@pytest.mark.parametrize("form", [forms.InterpretedForm, forms.CompiledForm])
def test_case(name: str, case: dict[str, Any], form: Any, kinds: tuple[Any, Any]) -> None:
    forms.Play(form(forms.POLICIES[name], case["config"], kinds), kinds).all(case)


def test_every_policy_has_cases_for_allowing_and_refusing() -> None:
    assert {path.stem for path in forms.HERE.glob("*.yaml")} == set(forms.POLICIES)
