"""`python -m apps.vectordb.data`: builds what it can, names what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from apps.vectordb.data import MissingSource, __main__, catalogue, load, load_texts, synthetic


@pytest.fixture(autouse=True)
def small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(report: object) -> None:
        raise MissingSource("not there: apt-get install it")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    small = {name: lambda report, name=name: synthetic(n=500, dim=4, tenants=5, clusters=9, queries=5, name=name)
             for name in ("synthetic", "packages")}
    monkeypatch.setattr(catalogue, "BUILDERS", {**catalogue.BUILDERS, **small, "wordnet": absent})


def test_it_builds_what_it_can_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.build(("wordnet", "synthetic")) == 1
    told = capsys.readouterr().out
    assert "not there: apt-get install it" in told and "500" in told
    assert __main__.build(["synthetic"]) == 0
    __main__.show_list()
    listed = capsys.readouterr().out
    assert "synthetic-v" in listed and "not built" in listed


def test_an_unknown_name_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["data", "build", "sift"])
    with pytest.raises(SystemExit, match="2"):
        __main__.main()
    assert "no data set sift: there are synthetic," in capsys.readouterr().err


def test_texts_fall_back_to_package_descriptions() -> None:
    with pytest.raises(MissingSource):
        load("wordnet")
    assert load_texts().name == "packages"
