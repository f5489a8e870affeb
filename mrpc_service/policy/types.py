"""Types of the policy language, as the compiler sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Type:
    """`detail` depends on the kind: of a message its Message and path, of an array its Field and path, of a field name its path."""

    kind: str
    detail: Any = None

    def __str__(self) -> str:
        return NAMES.get(self.kind, self.kind)


INT = Type("int")
FLOAT = Type("float")
BOOL = Type("bool")
TEXT = Type("text")
NONE = Type("none")
VERDICT = Type("verdict")
TOKEN = Type("token")
INTS = Type("ints")
TEXTS = Type("texts")

NAMES = {
    "ints": "a list of ints", "texts": "a list of texts", "none": "nothing", "verdict": "a verdict", "token": "a token",
    "message": "a message", "array": "a repeated field", "map": "a map field", "self": "the policy", "call": "the call",
    "metadata": "the call's metadata", "field": "a field's name", "fields": "fields' names", "store": "a store of replies",
    "lease": "a lease", "keys": "a key set", "old": "the state before", "scope": "a scope",
}
SCALARS = {"int", "float", "bool", "text"}
NUMBERS = {"int", "float"}
ANNOTATED = {"int": INT, "float": FLOAT, "bool": BOOL, "str": TEXT}
