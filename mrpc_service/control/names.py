"""How the API's methods are named on the wire and in Python."""

from __future__ import annotations

import re
from typing import Any


def method_path(method: Any) -> str:
    """HTTP/2 path of a method, from its descriptor."""
    return f"/{method.containing_service.full_name}/{method.name}"


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
