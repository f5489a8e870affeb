"""What tests of several folders share: a real daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def daemon() -> Iterator[object]:
    """A private mrpcd for the tests of one module: a mrpc.testing.Mesh; $MRPC_RUNTIME_DIR leads to it."""
    from mrpc import testing

    with testing.mesh() as mesh:
        yield mesh
