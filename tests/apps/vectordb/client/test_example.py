"""The example prints the same over this service's client and, with another import, over qdrant_client's local mode."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from apps.vectordb import client

EXAMPLE = Path(client.__file__).parents[1] / "examples" / "films.py"


def printed(text: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(text, str(EXAMPLE), "exec"), {})
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_one_import_is_all_that_differs() -> None:
    ours = EXAMPLE.read_text()
    theirs = ours.replace("from apps.vectordb.client import", "from qdrant_client import")
    assert theirs != ours and printed(ours) == printed(theirs) != ""
