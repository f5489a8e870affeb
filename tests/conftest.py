"""What tests of several folders share: a real daemon, and generated examples that are the same at every run.

`pytest --hypothesis-profile=fresh` draws others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("fresh", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="module")
def daemon() -> Iterator[object]:
    """A private mrpcd for the tests of one module: a mrpc.testing.Mesh; $MRPC_RUNTIME_DIR leads to it."""
    from mrpc import testing

    with testing.mesh() as mesh:
        yield mesh
