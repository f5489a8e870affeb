"""The plugin's options."""

from __future__ import annotations

from dataclasses import dataclass


class OptionError(ValueError):
    """An option that does not exist or a value that it does not take."""


@dataclass(frozen=True)
class Options:
    grpc_names: bool = False
    absolute_imports: bool = False
    init_files: bool = True
    pyi: bool = True


def parse_options(parameter: str) -> Options:
    """Of protoc's comma-separated parameter. Raises OptionError."""
    given: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in parameter.split(","))):
        key, _, value = item.partition("=")
        given[key] = value
    grpc_names = _flag(given, "grpc_names", False)
    options = Options(
        grpc_names=grpc_names,
        absolute_imports=_imports(given, "absolute" if grpc_names else "relative") == "absolute",
        init_files=_flag(given, "init_files", True),
        pyi=_flag(given, "pyi", True),
    )
    if given:
        raise OptionError(f"unknown option {min(given)!r}; there are grpc_names, imports, init_files and pyi")
    return options


def _flag(given: dict[str, str], key: str, default: bool) -> bool:
    value = given.pop(key, None)
    if value is None:
        return default
    if value not in ("", "true", "false"):
        raise OptionError(f"option {key} is true or false, not {value!r}")
    return value != "false"


def _imports(given: dict[str, str], default: str) -> str:
    value = given.pop("imports", default)
    if value not in ("relative", "absolute"):
        raise OptionError(f"option imports is relative or absolute, not {value!r}")
    return value
