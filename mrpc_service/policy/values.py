"""Values of the configuration: what an operator writes, checked and brought into the one form that the data plane takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrpc_service.policy.errors import near_miss

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
LIST_ITEMS_MAX = 100_000
TEXT_BYTES_MAX = 64 * 1024
KEYS_BYTES_MAX = 256 * 1024
SCOPES = ["call", "client", "server", "service", "method", "tenant", "global"]
UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
MISSING = object()

# Annotation -> the type in the program's block of configuration; "" for those that the compiler builds in.
ANNOTATIONS = {
    "int": "int", "float": "float", "bool": "bool", "str": "text", "Duration": "int", "list[str]": "texts", "list[int]": "ints",
    "Keys": "keys", "Field": "", "Fields": "", "Scope": "",
}
COMPILE_TIME = {name for name, kind in ANNOTATIONS.items() if not kind}
EXAMPLES = {
    "int": "10", "float": "1.0", "bool": "True", "str": '"text"', "Duration": '"250ms"', "list[str]": '["a", "b"]', "list[int]": "[1, 2]",
    "Keys": "'{\"keys\": [...]}'", "Field": '"user.name"', "Fields": '["user.name", "tier"]', "Scope": '"client"',
}


class ValueProblem(Exception):
    def __init__(self, reason: str, example: str = ""):
        super().__init__(reason)
        self.example = example


@dataclass(frozen=True)
class ConfigField:
    name: str
    annotation: str
    default: Any  # MISSING: operators must give it
    doc: str
    line: int

    @property
    def live(self) -> bool:
        """Whether a change needs no recompiling."""
        return self.annotation not in COMPILE_TIME


def read_value(annotation: str, value: Any) -> Any:
    """The value in its one form: durations in nanoseconds, lists ascending and each item once, Scope and Fields as tuples.

    ValueProblem when it is not of that type."""
    try:
        return READERS[annotation](value)
    except ValueProblem as error:
        raise ValueProblem(str(error), EXAMPLES[annotation]) from None


def check_config(fields: Mapping[str, ConfigField], given: Mapping[str, Any]) -> dict[str, Any]:
    """All fields with their values, defaults filled in. ValueError with one line for each fault."""
    faults, out = [], {}
    for name in given.keys() - fields.keys():
        faults.append(f"there is no field {name!r} ({near_miss(str(name), fields)})")
    for name, field in fields.items():
        if name not in given:
            if field.default is MISSING:
                faults.append(f"{name} is required ({name}: {field.annotation}, for instance {EXAMPLES[field.annotation]})")
            else:
                out[name] = field.default
            continue
        try:
            out[name] = read_value(field.annotation, given[name])
        except ValueProblem as error:
            faults.append(f"{name}: {error} ({field.annotation}, for instance {error.example})")
    if faults:
        raise ValueError("\n".join(sorted(faults)))
    return out


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueProblem(f"{value!r} is no int")
    if not INT_MIN <= value <= INT_MAX:
        raise ValueProblem(f"{value} does not fit 64 bits")
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueProblem(f"{value!r} is no number")
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueProblem(f"{value!r} is not finite")
    return number


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueProblem(f"{value!r} is neither true nor false")
    return value


def _text(value: Any, bytes_max: int = TEXT_BYTES_MAX) -> str:
    if not isinstance(value, str):
        raise ValueProblem(f"{value!r} is no text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueProblem("a text that is not UTF-8") from None
    if size > bytes_max:
        raise ValueProblem(f"a text of more than {bytes_max} bytes")
    return str(value)


def _duration(value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,19}(?:\.\d{1,9})?)\s*(ns|us|ms|s|m|h)", value.strip())
        if match is None:
            raise ValueProblem(f"{value!r} is no duration; units are {', '.join(UNITS_NS)}")
        whole, _, part = match[1].partition(".")
        unit = UNITS_NS[match[2]]
        return _int(int(whole) * unit + (int(part) * unit // 10 ** len(part) if part else 0))
    return _int(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueProblem(f"{value!r} is no list")
    if len(value) > LIST_ITEMS_MAX:
        raise ValueProblem(f"a list of more than {LIST_ITEMS_MAX} items")
    return list(value)


def _texts(value: Any) -> list[str]:
    return sorted({_text(each) for each in _list(value)}, key=lambda each: each.encode())


def _ints(value: Any) -> list[int]:
    return sorted({_int(each) for each in _list(value)})


def _keys(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"file"}:
        try:
            with Path(_text(value["file"])).open("rb") as file:
                return _text(file.read(KEYS_BYTES_MAX + 1).decode(), KEYS_BYTES_MAX)
        except (OSError, UnicodeError) as error:
            raise ValueProblem(f"{value['file']!r} cannot be read: {error}") from None
    return _text(value, KEYS_BYTES_MAX)


def _field(value: Any) -> str:
    text = _text(value, 1024)
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", text, re.ASCII):
        raise ValueProblem(f"{value!r} is no field's name")
    return text


def _fields(value: Any) -> tuple[str, ...]:
    names = tuple(_field(each) for each in _list(value))
    if len(names) > 64:
        raise ValueProblem("more than 64 fields")
    return names


def _scope(value: Any) -> tuple[str, ...]:
    scopes = [value] if isinstance(value, str) else _list(value)
    if not scopes or len(scopes) > len(SCOPES):
        raise ValueProblem("a scope is one name or a list of some")
    for each in scopes:
        if each not in SCOPES and not (isinstance(each, str) and re.fullmatch(r"metadata:[0-9a-z_.-]{1,128}", each)):
            raise ValueProblem(f"there is no scope {each!r} ({near_miss(str(each), [*SCOPES, 'metadata:KEY'])})")
    if len(set(scopes)) != len(scopes) or (len(scopes) > 1 and ("global" in scopes or "call" in scopes)):
        raise ValueProblem("a scope names each thing once; 'call' and 'global' stand alone")
    return tuple(scopes)


READERS = {
    "int": _int, "float": _float, "bool": _bool, "str": _text, "Duration": _duration, "list[str]": _texts, "list[int]": _ints, "Keys": _keys,
    "Field": _field, "Fields": _fields, "Scope": _scope,
}
