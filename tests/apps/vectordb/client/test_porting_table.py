"""PORTING.md says what qdrant_client's signatures and ours say, of the version that is installed."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import qdrant_client
from qdrant_client import models as theirs

from apps.vectordb import client
from apps.vectordb.client import AsyncQdrantClient, QdrantClient, advice, filters
from apps.vectordb.client import models as ours

PAGE = (Path(client.__file__).parents[1] / "PORTING.md").read_text()
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in PAGE.splitlines() if line.startswith("| `")]


def methods(of: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(of, callable) if name == "__init__" or not name.startswith("_"))


def arguments(of: type, method: str) -> list[str]:
    return [name for name in inspect.signature(getattr(of, method)).parameters if name not in ("self", "kwargs", "others")]


THERE = [name for name in methods(qdrant_client.QdrantClient) if hasattr(QdrantClient, name)]


@pytest.mark.parametrize("method", THERE)
def test_a_row_says_which_arguments_are_taken(method: str) -> None:
    at_theirs, here = arguments(qdrant_client.QdrantClient, method), arguments(QdrantClient, method)
    row, = (row for row in ROWS if row[0] == f"`{method}`")
    assert row[2:] == (", ".join(name for name in here if name not in at_theirs), ", ".join(name for name in at_theirs if name not in here))
    shared = [name for name in at_theirs if name in here and name != "timeout"]
    assert shared == [name for name in here if name in shared], "in the same order"


def test_every_method_is_there_or_has_advice() -> None:
    there = set(THERE)
    assert there | advice.METHODS.keys() == set(methods(qdrant_client.QdrantClient)) and there.isdisjoint(advice.METHODS)
    assert {row[0].strip("`") for row in ROWS if len(row) == 4} == there
    assert {name for name in there if hasattr(AsyncQdrantClient, name)} == there


def test_every_argument_that_is_not_taken_has_advice() -> None:
    gone = {name for method in THERE for name in set(arguments(qdrant_client.QdrantClient, method)) - set(arguments(QdrantClient, method))}
    assert gone - {"grpc_grace"} <= advice.ARGUMENTS.keys()
    for name in advice.ARGUMENTS.keys() - gone:
        assert name in theirs.SearchParams.model_fields | theirs.QueryRequest.model_fields, f"nobody has an argument {name!r}"


def test_the_page_has_the_advice_that_users_get() -> None:
    for kind in (advice.METHODS, advice.ARGUMENTS):
        by_text = defaultdict(list)
        for name, text in kind.items():
            by_text[text].append(f"`{name}`")
        for text, names in by_text.items():
            assert (", ".join(names), text) in ROWS


def test_every_condition_is_on_the_page() -> None:
    kinds = {each.__name__ for union in (theirs.Condition, theirs.Match) for each in get_args(union)} - {"FieldCondition"}
    kinds |= {"Range", "DatetimeRange", "GeoRadius", "GeoBoundingBox", "GeoPolygon", "ValuesCount"}
    on_page = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in ROWS if len(row) == 2)))
    assert kinds <= on_page
    assert {name for name in kinds if not hasattr(ours, name)} == {"HasVectorCondition", "SliceCondition"}
    assert set(theirs.FieldCondition.model_fields) == {"key", *filters._FIELDS}


MODELS = [each for each in vars(ours).values() if dataclasses.is_dataclass(each)]

NEW_FIELDS = {"SearchParams": {"recall"}, "UpdateResult": {"count"}, "CollectionInfo": {"name", "vectors", "sparse_vectors"},
              "MatchExcept": {"except_"}, "SparseVectorParams": {"k1", "b"}}


@pytest.mark.parametrize("ours", MODELS, ids=lambda model: model.__name__)
def test_a_model_has_their_name_and_fields(ours: type) -> None:
    fields = {each.name for each in dataclasses.fields(ours)}
    assert fields - NEW_FIELDS.get(ours.__name__, set()) <= getattr(theirs, ours.__name__).model_fields.keys()
