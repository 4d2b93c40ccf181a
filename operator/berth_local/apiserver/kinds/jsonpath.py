"""The part of JSONPath that printer columns use: fields, indexes, `[*]`, slices and filters on equality."""

import json
import re
from collections.abc import Callable
from typing import Any

Step = Callable[[list[Any]], list[Any]]

_TOKEN = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[(?P<index>-?\d+|\*)\]
      | \[(?P<quoted>'[^']*'|"[^"]*")\]
      | \[\?\(@(?P<path>(?:\.[^=!<>\s\])]+)+)\s*(?:(?P<sign>==|!=)\s*(?P<value>'[^']*'|"[^"]*"|[^)\s]+)\s*)?\)\]
    """,
    re.VERBOSE,
)


def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """Read a path such as `.status.conditions[?(@.type=="Ready")].status`; ValueError for what is not understood.

    The result is a function from an object to the values found, none where a field is absent.
    """
    steps: list[Step] = []
    rest = text.strip()
    if rest.startswith("{") and rest.endswith("}"):
        rest = rest[1:-1]
    position = 0
    while position < len(rest):
        token = _TOKEN.match(rest, position)
        if token is None:
            raise ValueError(f"{text!r} is not understood as a JSONPath from {rest[position:]!r} on")
        steps.append(_step(token))
        position = token.end()

    def find(body: Any) -> list[Any]:
        values = [body]
        for step in steps:
            values = step(values)
        return values

    return find


def _step(token: re.Match[str]) -> Step:
    if token["field"] is not None:
        return _field(re.sub(r"\\(.)", r"\1", token["field"]))
    if token["quoted"] is not None:
        return _field(token["quoted"][1:-1])
    if token["index"] == "*":
        return lambda values: [
            item
            for one in values
            if isinstance(one, list | dict)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    if token["index"] is not None:
        index = int(token["index"])
        return lambda values: [
            one[index] for one in values if isinstance(one, list) and -len(one) <= index < len(one)
        ]
    below = compile_path(token["path"])
    if token["sign"] is None:
        return lambda values: [item for one in values if isinstance(one, list) for item in one if below(item)]
    wanted, equal = _literal(token["value"]), token["sign"] == "=="
    return lambda values: [
        item for one in values if isinstance(one, list) for item in one if (wanted in below(item)) is equal
    ]


def _field(name: str) -> Step:
    if name == "*":
        return lambda values: [item for one in values if isinstance(one, dict) for item in one.values()]
    return lambda values: [one[name] for one in values if isinstance(one, dict) and name in one]


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
