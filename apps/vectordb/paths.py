"""Paths into JSON: `a.b` steps into objects, `a[].b` into each element of an array, `a[0]` into one; "a.b" in double quotes is one key.

A path is parsed to steps: a text is a key, a number an index, None each element.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

Step = str | int | None
Steps = tuple[Step, ...]

_PART = re.compile(r'(?:"(?P<quoted>[^"]*)"|(?P<plain>[^".\[\]]+))(?P<brackets>(?:\[[0-9]{0,19}\])*)(?P<dot>\.(?!$))?')


@lru_cache(maxsize=4096)
def parse(path: str) -> Steps:
    """ValueError for what is no path."""
    steps: list[Step] = []
    at, goes_on = 0, True
    while goes_on and (part := _PART.match(path, at)):
        plain: str | None = part["plain"]
        steps.append(part["quoted"] if plain is None else plain)
        steps.extend(int(index) if index else None for index in part["brackets"][1:-1].split("][") if part["brackets"])
        at, goes_on = part.end(), bool(part["dot"])
    if goes_on or at < len(path):
        raise ValueError(f"{path[:80]!r} is no path: write a.b, a[].b or a[0], and keys with other marks in double quotes")
    return tuple(steps)


def values(node: Any, steps: Steps) -> Iterator[Any]:
    """What is there; nothing when it is missing. An array stays one value unless the path says `[]`."""
    for place, step in enumerate(steps):
        if step is None:
            for each in node if isinstance(node, list) else ():
                yield from values(each, steps[place + 1:])
            return
        if isinstance(step, str):
            if not isinstance(node, dict) or step not in node:
                return
        elif not isinstance(node, list) or step >= len(node):
            return
        node = node[step]
    yield node


def at(node: dict[str, Any], steps: Steps) -> list[Any]:
    """The same as a list, of an object."""
    if len(steps) == 1:  # as most paths
        return [node[steps[0]]] if steps[0] in node else []
    return list(values(node, steps))


def merged(node: Any, steps: Steps, fields: dict[str, Any]) -> Any:
    """The node with the fields set in the object at the path, which is made where there is none; a null takes a field away.
    Indexes lead only where there is an element."""
    if not steps:
        together = {**node, **fields} if isinstance(node, dict) else fields
        return {key: value for key, value in together.items() if value is not None or key not in fields}
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        there = node if isinstance(node, dict) else {}
        return {**there, step: merged(there.get(step, {}), rest, fields)}
    elements = node if isinstance(node, list) else []
    return [merged(each, rest, fields) if step in (None, place) else each for place, each in enumerate(elements)]


def without(node: Any, steps: Steps) -> Any:
    """The node without what is at the path. `[]` at its end empties the array; an index there takes nothing away."""
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        if not isinstance(node, dict) or step not in node:
            return node
        return {**node, step: without(node[step], rest)} if rest else {key: value for key, value in node.items() if key != step}
    if not isinstance(node, list):
        return node
    if not rest:
        return [] if step is None else node
    return [without(each, rest) if step in (None, place) else each for place, each in enumerate(node)]


Tree = dict[Step, Any]
"""Of several paths: by step, what may follow; True where a path ends."""


def tree(keys: Iterable[str]) -> Tree:
    """ValueError for what is no path."""
    root: Tree = {}
    for key in keys:
        *parents, last = parse(key)
        node: Any = root
        for step in parents:
            node = node.setdefault(step, {})
            if node is True:  # a shorter path takes all below it
                break
        else:
            node[last] = True
    return root


def only(node: Any, chosen: Tree) -> Any:
    """The node with nothing but what the paths lead to. Indexes lead to nothing."""
    if isinstance(node, dict):
        return {key: value if chosen[key] is True else only(value, chosen[key]) for key, value in node.items() if key in chosen}
    if isinstance(node, list):
        below = chosen.get(None, {})
        return node if below is True else [only(each, below) for each in node] if below else []
    return node


def all_but(node: Any, left_out: Tree) -> Any:
    """The node without what the paths lead to. Indexes lead to nothing."""
    if isinstance(node, dict):
        return {key: all_but(value, left_out[key]) if key in left_out else value
                for key, value in node.items() if left_out.get(key) is not True}
    if isinstance(node, list):
        below = left_out.get(None, {})
        return [] if below is True else [all_but(each, below) for each in node] if below else node
    return node
