"""Which parts of payloads a caller wants."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from . import paths
from .database import payloads
from .database.errors import Invalid

PATHS_MAX = 256

Choose = Callable[[str], str]
"""Of the text of a payload."""


def chooser(request: Any) -> Choose | None:
    """What the request's `fields` says; None: payloads as they are. Invalid for both lists, more than PATHS_MAX paths, or what is no path."""
    if not request.HasField("fields"):
        return None
    included, excluded = list(request.fields.include), list(request.fields.exclude)
    if included and excluded:
        raise Invalid("parts of payloads are included or excluded, not both")
    if len(included) + len(excluded) > PATHS_MAX:
        raise Invalid(f"at most {PATHS_MAX} paths choose parts of payloads")
    for key in included + excluded:
        payloads.steps(key)
    choose, tree = (paths.all_but, paths.tree(excluded)) if excluded else (paths.only, paths.tree(included))
    return lambda text: json.dumps(choose(json.loads(text), tree), separators=(",", ":"))
