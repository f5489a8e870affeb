"""The module generated from tests/protos/everything.proto, and google.protobuf's classes for the same messages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mrpc import protoc
from mrpc._messages_google import google_class

PROTOS = Path(__file__).parents[1] / "protos"


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    out = tmp_path_factory.mktemp("generated")
    protoc.write(protoc.compile_files(["everything.proto"], [str(PROTOS)]), out)
    sys.path.insert(0, str(out))
    return importlib.import_module("everything_mrpc")


@pytest.fixture
def ours(everything: ModuleType) -> Any:
    return everything.Everything


@pytest.fixture
def theirs(ours: Any) -> Any:
    return google_class(ours)
