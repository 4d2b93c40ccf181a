"""Workspaces as no one should write them: seeded random damage to a valid one."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from berth_operator.kube import Object

Path = tuple[Any, ...]
Mutation = Callable[[random.Random, Object], str]

ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\n",
    "ä" * 70,
    "模型",
    "🚢",
    "‮evil",
    "a" * 64,
    "a" * 300,
    "x" * 100_000,
    "../../etc/passwd",
    "{{ .Values }}",
    "$(HF_TOKEN)",
    "'; DROP TABLE workspaces; --",
    "null",
    "-1",
    "1e309",
    "UPPER-case",
    "phi-3-mini",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    10**30,
    0.5,
    [],
    [None],
    [[]],
    {},
    {"": ""},
    {"a": {"b": {"c": []}}},
    "text",
    *ODD_TEXTS[:8],
)


@dataclass(frozen=True)
class Mutant:
    """A damaged Workspace and what was done to it."""

    number: int
    body: Object
    damage: str


def mutants(seed: int, count: int, valid: tuple[Object, ...]) -> Iterator[Mutant]:
    """Give that many damaged copies of the valid Workspaces, each with a name of its own unless that is the damage."""
    for number in range(count):
        # One generator for each, so that a failure is made again from its number alone.
        chance = random.Random(f"{seed}/{number}")
        body = copy.deepcopy(chance.choice(valid))
        body["metadata"]["name"] = f"mutant-{number}"
        times = chance.choice((1, 1, 1, 2, 3))
        damage = "; ".join(chance.choice(MUTATIONS)(chance, body) for _ in range(times))
        yield Mutant(number, body, damage)


def _paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Every place in a Workspace that may be damaged; what it is and where it lies stay."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if here or key not in ("apiVersion", "kind"):
            path = (*here, key)
            if path not in (("metadata",), ("metadata", "namespace")):
                yield path
            yield from _paths(inner, path)


def _some_place(chance: random.Random, body: Object) -> tuple[Any, Any, str]:
    path = chance.choice(list(_paths(body)))
    parent: Any = body
    for key in path[:-1]:
        parent = parent[key]
    return parent, path[-1], ".".join(map(str, path))


def _wrong_type(chance: random.Random, body: Object) -> str:
    parent, key, where = _some_place(chance, body)
    parent[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    return f"{where} = {parent[key]!r}"[:120]


def _odd_text(chance: random.Random, body: Object) -> str:
    parent, key, where = _some_place(chance, body)
    parent[key] = chance.choice(ODD_TEXTS)
    return f"{where} = {parent[key]!r}"[:120]


def _removed(chance: random.Random, body: Object) -> str:
    parent, key, where = _some_place(chance, body)
    del parent[key]
    return f"{where} removed"


def _extra_field(chance: random.Random, body: Object) -> str:
    places = [
        body,
        *(inner for inner in (_at(body, path) for path in _paths(body)) if isinstance(inner, dict)),
    ]
    name, value = chance.choice(("extra", "Name", "spec", "ä", "")), copy.deepcopy(chance.choice(ODD_VALUES))
    chance.choice(places)[name] = value
    return f"a field {name!r} = {value!r} more"[:120]


def _doubled(chance: random.Random, body: Object) -> str:
    lists = [
        inner for inner in (_at(body, path) for path in _paths(body)) if isinstance(inner, list) and inner
    ]
    if not lists:
        return _removed(chance, body)
    chosen = chance.choice(lists)
    chosen.append(copy.deepcopy(chosen[0]))
    return "an item twice"


def _wrapped(chance: random.Random, body: Object) -> str:
    parent, key, where = _some_place(chance, body)
    parent[key] = chance.choice((lambda value: [value], lambda value: {"value": value}))(parent[key])
    return f"{where} wrapped"


def _swapped(chance: random.Random, body: Object) -> str:
    parent, key, where = _some_place(chance, body)
    other, second, there = _some_place(chance, body)
    mine, theirs = copy.deepcopy(parent[key]), copy.deepcopy(other[second])
    parent[key] = theirs
    if isinstance(other, dict) and second in other:
        other[second] = mine
    return f"{where} and {there} swapped"


def _deep(chance: random.Random, body: Object) -> str:
    parent, key, where = _some_place(chance, body)
    nested: Any = "bottom"
    for _ in range(200):
        nested = {"a": nested}
    parent[key] = nested
    return f"{where} 200 levels deep"


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


MUTATIONS: tuple[Mutation, ...] = (
    _wrong_type,
    _wrong_type,
    _odd_text,
    _odd_text,
    _removed,
    _extra_field,
    _doubled,
    _wrapped,
    _swapped,
    _deep,
)
