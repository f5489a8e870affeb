"""python -m mrpc_service.policy FILE [--c] [--set NAME=VALUE]: for developers of policies that read no message fields, and of the compiler."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from mrpc_service.policy.build import BuildError, build
from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.front import inspect, translate
from mrpc_service.policy.source import read


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mrpc_service.policy", description="Check a policy program and show what becomes of it.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--c", action="store_true", help="print the C that is compiled")
    parser.add_argument("--layouts", type=Path, help="JSON {request: ..., reply: ...} of message layouts")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a field of the configuration that is built in")
    given = parser.parse_args()
    layouts = json.loads(given.layouts.read_text()) if given.layouts else {}
    config = {name: json.loads(value) for name, _, value in (each.partition("=") for each in given.set)}
    try:
        source = read(given.file)
        told = inspect(source)
        if told["needs_layout"] and not layouts:
            print(json.dumps(told, indent=2))
            return 0
        text, spec = translate(source, config, layouts.get("request"), layouts.get("reply"))
        if given.c:
            print(text)
            return 0
        size = len(build(text, Path(tempfile.gettempdir())))
        print(json.dumps({**spec, "object_bytes": size}, indent=2))
    except (PolicyError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
