"""Programs broken at random: each is refused with a line, or compiles to an object that wants nothing, ends, and stays in its memory.

Images stand before a page that cannot be read, and are broken too; the runs are in a process of their own, whose death fails the test."""

from __future__ import annotations

import ast
import copy
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from mrpc_service.policy.errors import PolicyError

from . import images, programs, sample
from .fake_host import CALL, FakeHost
from .native_form import Compiled

COUNT = int(os.environ.get("MRPC_FUZZ_EXAMPLES", "0")) or 12
EXPRESSIONS = ["request", "request.items", "request.user", "self", "call", "1", "0.5", "'x'", "True", "None", "self.fields", "self.names", "[]", "x",
               "request.numbers[0]", "range(9)", "deny(7)", "self.helper(1, 2)", "request.items[0]", "call.metadata", "key(1)", "-1", "self.per"]


def mutant(rng: random.Random) -> str:
    """One random program with some of its expressions replaced, moved, or its statements shuffled."""
    tree = ast.parse(programs.Maker(rng.randrange(1 << 30)).program())
    function = next(each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))
    for _ in range(rng.randint(1, 2)):
        places = [(node, name, value) for node in ast.walk(function) for name, value in ast.iter_fields(node)
                  if isinstance(value, ast.expr) and not isinstance(getattr(value, "ctx", None), ast.Store)]
        node, name, old = rng.choice(places)
        others = [each for each in ast.walk(function) if isinstance(each, ast.expr) and type(each) is type(old)]
        new = ast.parse(rng.choice(EXPRESSIONS), mode="eval").body if rng.random() < 0.4 else rng.choice(others)
        setattr(node, name, copy.deepcopy(new))
    if rng.random() < 0.3:
        rng.shuffle(function.body)
    return ast.unparse(ast.fix_missing_locations(tree))


def broken(rng: random.Random, image: bytes) -> bytes:
    data = bytearray(image)
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data))
        data[at] = rng.choice([0, 1, 8, 0x7F, 0xFF, rng.randrange(256)])
    return bytes(data[:rng.randint(0, len(data))]) if rng.random() < 0.2 else bytes(data)


def request(rng: random.Random) -> Any:
    return sample.Request(
        number=rng.randint(-2, 5), text=rng.choice(["", "alpha", "x" * 300]), numbers=[1, 2, 3], words=["a", "é"], ratios=[0.5], flags=[True],
        user={"name": "eve", "address": {"city": "Bonn"}}, items=[{"sku": "s", "count": 2, "owner": {"name": "o"}}], labels={"a": "b"},
        blob=b"\xff\0")


def run_all(seed: int, count: int) -> None:
    """Exits with a text when one is neither refused with a line nor well-behaved."""
    rng, accepted = random.Random(seed), 0
    while accepted < count:
        text = mutant(rng)
        try:
            compiled = Compiled(text, FakeHost(), {}, "mutant.py")  # build() refuses an object that wants a symbol
        except PolicyError as error:
            assert all(each.line > 0 and each.reason for each in error.problems), f"{error}\n{text}"
            continue
        accepted += 1
        for _ in range(40):
            image = broken(rng, images.encode(request(rng)))
            outcome = compiled.run("request", CALL, image=image)
            assert outcome[0] in ("forward", "deny", "delay", "route", "fault"), text
    print(accepted)


def test_mutants(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.policy.test_mutants", "7", str(COUNT)], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[2], timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{COUNT}\n"


if __name__ == "__main__":
    run_all(int(sys.argv[1]), int(sys.argv[2]))
